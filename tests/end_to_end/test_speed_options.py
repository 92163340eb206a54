"""Options that change how training is computed, and not what."""

import pytest
import torch
from short_runs import ADAM, GRADINIT, losses

FAST = ["--criterion", "projected_label_smoothed_cross_entropy", "--optimizer", "torch_adamw", "--dropout", "0"]


def test_bfloat16_is_named_in_log_and_record_and_trains_as_float32_does(fairseq, tmp_path):
    found = {}
    for precision in ("float32", "bfloat16"):
        arguments = [*GRADINIT, *ADAM, *FAST, "--precision", precision, "--gradinit-precision", "full"]
        output = fairseq.train(tmp_path / precision, 8, *arguments)
        assert output.count(f"precision of training: {precision}") == 1
        assert f'"training_precision": "{precision}"' in (tmp_path / precision / "gradinit.json").read_text()
        saved = torch.load(tmp_path / precision / "checkpoint_last.pt", weights_only=True)
        assert {value.dtype for name, value in saved["model"].items() if "weight" in name} == {torch.float32}
        found[precision] = [float(loss) for _, loss in losses(output)]
    assert found["bfloat16"] != found["float32"]
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.005)
