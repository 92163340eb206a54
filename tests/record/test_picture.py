"""What was learned, by layer and role: the place that a name implies, the printed report and the picture."""

import pytest
import torch

from gradinit_mt.core import State
from gradinit_mt.record.layers import by_stack, placed
from gradinit_mt.record.picture import draw
from gradinit_mt.record.record import Record, RecordError
from gradinit_mt.record.report import text

SCALES = {
    "encoder.embed_tokens.weight": ([9, 4], 1.5),
    "encoder.layers.0.self_attn.q_proj.weight": ([4, 4], 0.25),
    "encoder.layers.0.self_attn.q_proj.bias": ([4], 0.9),
    "encoder.layers.0.fc1.weight": ([8, 4], 0.01),
    "encoder.layers.0.final_layer_norm.weight": ([4], 1.25),
    "encoder.layers.1.self_attn.q_proj.weight": ([4, 4], 0.5),
    "encoder.layers.1.fc1.weight": ([8, 4], 2.0),
}


def record(iterations: int) -> Record:
    """The first of ten iterations: the norm falls from 40 by 10, and the last step is an objective step."""
    blocks = [{"name": name, "shape": shape, "learnable": True} for name, (shape, _) in SCALES.items()]
    blocks.append({"name": "encoder.layers.1.final_layer_norm.weight", "shape": [4], "learnable": False})
    state = State.fresh(len(blocks))
    state.scales[:-1] = torch.tensor([scale for _, scale in SCALES.values()], dtype=torch.float64)
    for number in range(iterations):
        last = number == iterations - 1
        state.history.append(
            {
                "loss": 9.0 - number,
                "norm": 40.0 - 10 * number,
                "kind": "objective" if last else "constraint",
                "ahead": 5.0 if last else None,
            }
        )
        state.trajectory.append(state.scales)
        state.steps[0 if last else 1] += 1
    settings = {"step": "adam", "eta": 1e-3, "gamma": 15.0, "tau": 0.01, "iterations": 10}
    settings |= {"look_ahead": 1, "signal_weight": 0.0, "update": "adam"}
    settings |= {"lower_bound": 0.01, "upper_bound": 2.0, "vector_lower_bound": 0.9, "vector_upper_bound": 1.25}
    return Record(settings, blocks, "0" * 64, state)


def test_scales_are_found_by_stack_family_role_and_layer():
    stacks = by_stack(placed(record(4)))
    assert {family: dict(roles) for family, roles in stacks["encoder.layers"].items()} == {
        "self_attn": {"q_proj": {0: 0.25, 1: 0.5}},
        "feed-forward": {"fc1": {0: 0.01, 1: 2.0}},
        "LayerNorm": {"final_layer_norm": {0: 1.25}},
    }
    assert list(stacks["encoder.layers"]) == ["self_attn", "feed-forward", "LayerNorm"]
    outside = [scale for scale in placed(record(4)) if scale.stack is None]
    assert [(scale.name, scale.value) for scale in outside] == [("encoder.embed_tokens", 1.5)]


def test_weights_of_residual_sums_are_a_family_within_their_layer():
    learned = record(4)
    learned.blocks[3] = {"name": "encoder.layers.0.final_residual_weight", "shape": [4], "learnable": True}
    assert by_stack(placed(learned))["encoder.layers"]["residual sums"] == {"final_residual_weight": {0: 0.01}}


def test_the_report_shows_how_loss_norm_and_scales_changed():
    lines = text(record(4)).splitlines()
    assert lines[0].startswith("4 of 10 iterations")
    assert "1 objective, 3 constraint steps" in lines[0]
    values = {line[:26].strip(): line[26:].split("(")[0].split() for line in lines[2:6]}
    assert values["L1 norm of the gradient"] == ["35", "->", "15"], "means of two at each end"
    assert values["objective ahead, on S~"] == ["5", "->", "5"]
    assert values["scales, biases left out"][0] == "0.01"
    assert [part.strip() for part in lines[5].split(";")[1:]] == [
        "1 of 5 matrices at their lower bound 0.01",
        "1 of 5 matrices at their upper bound 2",
        "1 of 1 vectors at their upper bound 1.25",
    ], "the bias at 0.9 is left out"
    fc1 = next(line for line in lines if line.split()[:1] == ["fc1"])
    assert fc1.split() == ["fc1", "0.010", "2.000"]
    norm = next(line for line in lines if line.split()[:1] == ["final_layer_norm"])
    assert norm.split() == ["final_layer_norm", "1.250"], "a tensor of zeros has no scale to show"


def test_the_report_of_a_long_run_averages_twenty_iterations_at_each_end():
    """The norm is 40 - 10 n in iteration n, from 0 to 99."""
    learned = record(100)
    learned.settings["step"] = "sgd"
    learned.state.seconds = 12.34
    lines = text(learned).splitlines()
    assert lines[0].startswith("100 iterations in 12.3 s")
    assert "L2 norm of the gradient" in lines[4]
    assert lines[4].endswith("-55 -> -855 (means of the first and the last 20)")
    assert lines[5].split(";")[0].endswith("0.01 lowest, 0.875 median, 2 highest"), (
        "of 0.01, 0.25, 0.5, 1.25, 1.5 and 2"
    )


def test_the_report_names_a_bound_of_embeddings_that_is_reached():
    learned = record(4)
    learned.settings["embedding_upper_bound"] = 1.5
    assert "1 at the upper bound 1.5 of embeddings" in text(learned).splitlines()[5]


def test_a_matrix_at_its_lower_bound_is_not_taken_for_an_embedding_at_the_same_bound():
    learned = record(4)
    learned.settings["embedding_upper_bound"] = learned.settings["lower_bound"]
    shown = text(learned).splitlines()[5]
    assert "1 of 5 matrices at their lower bound 0.01" in shown
    assert "embeddings" not in shown


def test_the_picture_shows_every_layer_and_every_trajectory():
    figure = draw(record(4))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["encoder.layers: self_attn", "encoder.layers: feed-forward", "encoder.layers: LayerNorm"]
    trajectories = figure.axes[3]
    assert sum(len(line.get_xdata()) == 4 for line in trajectories.lines) == len(placed(record(4)))


def test_the_picture_has_its_legends_outside_the_axes():
    figure = draw(record(4))
    figure.draw_without_rendering()
    legends = [(axes.get_legend().get_window_extent(), axes) for axes in figure.axes]
    assert len(legends) == 6
    for legend, axes in legends:
        labels = [axes.xaxis.label.get_window_extent(), *(other.get_window_extent() for other in figure.axes)]
        assert not any(legend.overlaps(box) for box in labels)
        assert figure.bbox.fully_contains(*legend.min) and figure.bbox.fully_contains(*legend.max)


def test_a_record_without_iterations_is_refused():
    for show in (text, draw):
        with pytest.raises(RecordError, match="no iteration yet"):
            show(record(0))
        by_hand = record(0)
        by_hand.settings["iterations"] = 0
        with pytest.raises(RecordError, match="scales were not learned"):
            show(by_hand)
