"""The rows of the comparison study: the options and the model that fairseq makes of each."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from comparison.cells import Cell
from comparison.settings import SETTINGS

CELL = Cell("toy", "xavier", 1e-3, 0.98, None, 1, 800)
CORPUS = SimpleNamespace(bin=Path("bin"), source="de", target="en")
SAVE_DIR = Path("unused")

# What each row is in the names of fairseq, beside the row xavier; None: the option of xavier is not there.
GRADINIT = {"no_gradinit": None}
OWN = {
    **{f"warmup-{updates}": {"warmup_updates": updates} for updates in (50, 100, 200, 400, 800)},
    "warmup-tuned": {},  # its length is chosen later
    "warmup-untuned": {"warmup_updates": 100},
    "adam-eps": {"adam_eps": 1e-4},
    "radam": {"optimizer": "torch_radam"},
    "gi-adam": {"optimizer": "gi_adam"},
    "novograd": {"optimizer": "novograd", "adam_betas": "(0.95, 0.98)"},
    **{
        name: {"initializer": name}
        for name in (
            *("t-fixup", "ds-init", "post-ln-init", "looks-linear", "orthogonal", "emergence", "idinit"),
            *("nio", "metainit"),
        )
    },
    **{f"{name}-folded": {"initializer": name} for name in ("admin", "admin-closed", "deepnorm")},
    **{name: {"initializer": name, "residual_weights": "trainable"} for name in ("admin", "admin-closed")},
    "deepnorm": {"initializer": "deepnorm", "residual_weights": "fixed"},
    "branches": GRADINIT,  # which takes the scales set by hand
    "hand-output": GRADINIT,
    "gradinit": GRADINIT,
    "gradinit-signal": GRADINIT | {"gradinit_form": "signal"},
    "gradinit-paper": GRADINIT | {"gradinit_form": "paper"},
    "t-fixup-gradinit": GRADINIT | {"gradinit_form": "signal", "initializer": "t-fixup"},
}
SAME = {"lr": [1e-3], "adam_betas": "(0.9, 0.98)", "total_num_update": 10_000, "dropout": 0.1, "label_smoothing": 0.1}
SAME |= {"encoder_layers": 6, "max_update": 800, "watch_updates": 0}  # a run that fails makes all its updates, too


def fairseq_options(setting):
    """The options of fairseq-train in a cell of this setting, as the launcher gives them."""
    from gradinit_mt.training import launch
    from gradinit_mt.training.options import compose, given

    arguments = launch.parse_arguments(replace(CELL, setting=setting).launch(CORPUS.bin, SAVE_DIR, "cpu"))
    return given(compose(arguments.preset, CORPUS, SAVE_DIR, arguments.seed, arguments.further))


@pytest.fixture(scope="module")
def plain():
    """The options of the row xavier."""
    return fairseq_options("xavier")


def differing(options, plain):
    """The options that are not those of the row xavier, each with its value; None where only xavier has it."""
    names = {**options, **plain}
    return {name: options.get(name) for name in names if options.get(name) != plain.get(name)}


def test_the_row_without_a_remedy_has_the_options_of_the_preset(plain):
    assert {name: plain[name] for name in SAME} == SAME
    assert plain["no_gradinit"] is True
    assert not plain.keys() & {"initializer", "warmup_updates", "residual_weights", "encoder_normalize_before"}


@pytest.mark.parametrize("setting", [name for name in SETTINGS if name not in ("xavier", "pre-ln")])
def test_the_launcher_takes_the_options_of_every_setting_and_nothing_else_differs(setting, plain):
    assert differing(fairseq_options(setting), plain) == OWN[setting]


def test_pre_ln_is_the_same_model_with_a_layer_norm_at_the_end_of_each_stack(plain, task):
    from comparison.scales_by_hand import fairseq_config
    from fairseq.models import build_model

    changed = differing(fairseq_options("pre-ln"), plain)
    assert {name for name in changed if not name.startswith(("encoder_", "decoder_"))} == {"arch"}
    shapes = []
    for setting in ("xavier", "pre-ln"):
        model = build_model(fairseq_config(replace(CELL, setting=setting), CORPUS, SAVE_DIR).model, task)
        layers = (*model.encoder.layers, *model.decoder.layers)
        assert {layer.self_attn.num_heads for layer in layers} == {4}
        assert {layer.normalize_before for layer in layers} == {setting == "pre-ln"}
        shapes.append({name: p.shape for name, p in model.named_parameters()})
    last = {f"{stack}.layer_norm.{kind}": (128,) for stack in ("encoder", "decoder") for kind in ("weight", "bias")}
    assert shapes[1] == shapes[0] | last
