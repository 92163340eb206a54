"""The watch on short runs of fairseq-train: nothing changes but what is logged, until it stops the run."""

import json
import math

import pytest
import torch
from fairseq import checkpoint_utils
from short_runs import ADAM, losses, same_model, short_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import gradinit_mt
from gradinit_mt.plugin.watch.stop_note import STATUS

gradinit_mt.register_with_fairseq()

TASK = ["--task", "gradinit_translation", "--no-gradinit"]
WATCH = ["--watch-updates", "1000"]
# steps so large that the layers' outputs are alike after the first one
COLLAPSE = ["--optimizer", "torch_adam", "--lr", "0.2", "--log-interval", "2", "--watch-updates", "6"]


def logged(output: str, name: str) -> list[float]:
    """A number by update, from the log lines of training."""
    lines = [json.loads(line[line.index("{") :]) for line in output.splitlines() if "| train_inner | {" in line]
    return [float(line[name]) for line in lines]


def board(directory, name: str) -> dict[int, float]:
    """A number by update, from TensorBoard's files."""
    events = EventAccumulator(str(directory / "train_inner"))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


@pytest.fixture(scope="module")
def watched(fairseq, tmp_path_factory):
    """A watched run of six updates with dropout, and what it printed."""
    directory = tmp_path_factory.mktemp("watched")
    more = ["--dropout", "0.3", "--log-interval", "2", "--max-tokens", "4000", "--precision", "float32"]
    more += ["--tensorboard-logdir", directory / "tb"]
    return directory, fairseq.train(directory / "run", 6, *TASK, *ADAM, *more, *WATCH)


@pytest.mark.parametrize("model", [[], ["--arch", "transformer", "--encoder-layerdrop", "0.2"]])
def test_a_watched_run_is_bit_identical(fairseq, model, tmp_path):
    """With dropout and LayerDrop, whose random numbers a further forward pass could draw."""
    here = [*TASK, *ADAM, *model, "--dropout", "0.3", "--log-interval", "2", "--update-freq", "2"]
    plain = fairseq.train(tmp_path / "plain", 6, *here)
    watched = fairseq.train(tmp_path / "watched", 6, *here, *WATCH)
    assert same_model(tmp_path / "plain", tmp_path / "watched")
    assert losses(plain) == losses(watched)
    assert "source_gain" not in plain
    assert len(logged(watched, "source_gain")) == 3


def test_tensorboard_has_what_was_logged(watched):
    directory, output = watched
    for name in ("source_gain", "gnorm_encoder", "gnorm_decoder", "gnorm_embeddings", "signal_encoder_2"):
        values = board(directory / "tb", name)
        assert list(values) == [2, 4, 6]
        assert list(values.values()) == pytest.approx(logged(output, name), rel=1e-3, abs=1e-9)


def test_source_gain_and_signal_equal_plain_computations(watched):
    """From the checkpoint at the last reading, one sentence at a time and without a batch's padding."""
    directory, _ = watched
    (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(directory / "run/checkpoint_last.pt")])
    task.load_dataset("valid")
    dataset, criterion = task.dataset("valid"), task.build_criterion(cfg.criterion)
    by_length = sorted(range(len(dataset)), key=dataset.num_tokens)
    order = dataset.collater([dataset[index] for index in by_length])["id"].tolist()
    states: list[torch.Tensor] = []
    model.eval()
    model.encoder.layers[1].register_forward_hook(lambda *call: states.append(call[2].flatten(0, -2)))
    with torch.no_grad():
        tokens = sum(len(dataset[index]["target"]) for index in order)
        true, other = 0.0, 0.0
        for index, before in zip(order, [order[-1], *order[:-1]], strict=True):
            own = dataset.collater([dataset[index]])
            true += float(criterion(model, own)[0])
            wrong = dataset.collater([{**dataset[index], "source": dataset[before]["source"]}])
            other += float(criterion(model, wrong)[0])
            states.pop()  # those of the wrong source
    x = torch.cat(states).double()
    signal = float((x - x.mean(dim=0)).square().sum() / x.square().sum())
    gain = (other - true) / tokens / math.log(2)
    assert board(directory / "tb", "signal_encoder_2")[6] == pytest.approx(signal, rel=2e-3)
    assert board(directory / "tb", "source_gain")[6] == pytest.approx(gain, rel=2e-3, abs=2e-5)


def test_the_gradient_norms_make_up_the_whole(fairseq, tmp_path):
    output = fairseq.train(tmp_path, 3, *TASK, *ADAM, *WATCH, "--clip-norm", "0.01")
    stacks = [logged(output, f"gnorm_{stack}") for stack in ("encoder", "decoder", "embeddings")]
    for whole, *parts in zip(logged(output, "gnorm"), *stacks, strict=True):
        assert whole == pytest.approx(math.hypot(*parts), rel=2e-3), "before clipping, as fairseq logs it"
        assert min(parts) > 0


def test_a_run_without_a_future_stops_and_its_checkpoint_continues(fairseq, tmp_path):
    here = [*short_run(tmp_path / "run", 20), *TASK, *COLLAPSE, "--save-interval-updates", "2"]
    status, text = fairseq.start("train", *here).ended()
    assert status == STATUS, text[-3000:]
    assert "stopped after update 6: for 6 updates the training loss" in text
    assert "Try GradInit (without --no-gradinit), or a lower --lr than 0.2, or warmup" in text
    assert "Traceback" not in text
    note = json.loads((tmp_path / "run" / "stopped.json").read_text())
    assert (note["update"], note["end"]) == (6, "word frequencies")
    assert note["message"] in text
    continued = fairseq.run("train", *here, "--watch-updates", "0", "--max-update", "8")
    assert [update for update, _ in losses(continued)] == ["8"], "it resumes after update 6"
    assert not (tmp_path / "run" / "stopped.json").exists()


def test_a_resumed_run_counts_again(fairseq, tmp_path):
    here = [*TASK, *COLLAPSE]
    fairseq.train(tmp_path / "run", 4, *here)
    status, text = fairseq.start("train", *short_run(tmp_path / "run", 20), *here).ended()
    assert status == STATUS
    assert "stopped after update 10: for 6 updates" in text


def test_a_run_that_diverges_stops(fairseq, tmp_path):
    diverging = ["--optimizer", "sgd", "--lr", "1e30", "--watch-updates", "1000", "--log-interval", "100"]
    status, text = fairseq.start("train", *short_run(tmp_path / "run", 20), *TASK, *diverging).ended()
    assert status == STATUS
    assert "the loss or its gradient is not finite. Try a lower --lr than 1e+30" in text
    assert "Traceback" not in text
    assert json.loads((tmp_path / "run" / "stopped.json").read_text())["end"] == "not finite"
