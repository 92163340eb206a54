"""Which precision a model is trained and translated in."""

import argparse
from types import SimpleNamespace

import pytest
import torch
from fairseq.models import build_model

from gradinit_mt.core import GradInitError
from gradinit_mt.plugin import precision
from gradinit_mt.plugin.precision import in_working_precision, working_precision


@pytest.fixture
def model(task):
    options = {"_name": "post_ln_transformer_tiny", "max_source_positions": 9, "max_target_positions": 9}
    return build_model(argparse.Namespace(**options), task)


@pytest.fixture
def stock_model(task):
    return build_model(argparse.Namespace(_name="transformer", max_source_positions=9, max_target_positions=9), task)


def options(asked="auto", **casts):
    return SimpleNamespace(precision=asked, **{"fp16": False, "bf16": False, "amp": False, **casts})


@pytest.fixture(params=[True, False], ids=["native", "emulated"])
def native(request, monkeypatch):
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda device: request.param)
    return request.param


def test_auto_is_bfloat16_for_this_models_where_it_is_native(native, model, stock_model):
    assert working_precision(options(), model) == ("bfloat16" if native else "float32")
    assert working_precision(options(), torch.nn.parallel.DataParallel(model)) == working_precision(options(), model)
    assert working_precision(options(), stock_model) == "float32"


def test_what_is_asked_for_is_taken_on_any_device(native, model, stock_model):
    for asked in ("float32", "bfloat16"):
        assert working_precision(options(asked), model) == working_precision(options(asked), stock_model) == asked


@pytest.mark.parametrize("cast", ["fp16", "bf16", "amp"])
def test_fairseqs_own_modes_are_left_alone(native, model, cast):
    assert working_precision(options(**{cast: True}), model) == cast
    with torch.autocast("cpu", torch.float16), in_working_precision(options(**{cast: True}), model, "training"):
        assert torch.get_autocast_dtype("cpu") == torch.float16
    with pytest.raises(GradInitError, match=f"--precision bfloat16 and --{cast} exclude each other"):
        working_precision(options("bfloat16", **{cast: True}), model)


@pytest.mark.parametrize(("asked", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_are_computed_in_it(model, asked, kind):
    with in_working_precision(options(asked), model, "training"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind
