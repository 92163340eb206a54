"""The benchmark of GradInit's cost: what is measured, and how it is shown. No test looks at a time."""

import gradinit_cost
import pytest
import torch


@pytest.fixture(scope="module")
def bench():
    return gradinit_cost.Bench("tiny", 200, torch.device("cpu"))


@pytest.mark.parametrize("way", ["reference", "full"])
def test_the_setup_of_a_learner_is_measured_with_its_iteration(bench, monkeypatch, way):
    """Its copy of the parameters counts towards its memory."""
    made = []
    for name in ("PlainLearner", "learn_scales"):
        learner = getattr(gradinit_cost, name)
        monkeypatch.setattr(gradinit_cost, name, lambda *a, learner=learner: made.append(learner) or learner(*a))
    work = bench.prepare(f"{way} objective", 0)
    assert not made
    work()
    assert len(made) == 1


def test_the_table_names_the_step_that_it_compares_with():
    seconds = {contender: [2.0, 4.0] for contender in gradinit_cost.CONTENDERS}
    seconds["full objective"] = [1.0, 1.0]
    peaks = dict.fromkeys(gradinit_cost.CONTENDERS, 2.0) | {"full constraint": None}
    lines = gradinit_cost.table({"seconds": seconds, "peak_gib": peaks}).splitlines()
    assert "  x step  " in lines[0]
    assert lines[-1] == "(x step: of the training step, in float32 with fairseq's criterion and Adam)"
    rows = {line[:24].strip(): line[24:].split() for line in lines[1:-1]}
    assert rows["training step"][-2:] == ["1.00", "2.00"]
    assert rows["full objective"][-4:] == ["0.38", "0.33", "2.00", "1.00"]
    assert rows["full constraint"][-1] == "failed"
