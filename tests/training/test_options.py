"""The options of fairseq-train: composing, parsing and comparing them."""

import sys
from pathlib import Path

import fairseq.options as fairseq_options
import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.training import options
from gradinit_mt.training.presets import PRESETS, preset_for


@pytest.fixture(scope="module")
def corpus(toy_corpus):
    return PreparedCorpus.load(toy_corpus)


@pytest.fixture(scope="module")
def composed(corpus):
    def compose(*further, preset="other", **settings):
        return options.compose(preset, corpus, Path("runs/x"), 1, list(further), **settings)

    return compose


@pytest.mark.parametrize("processes", [1, 3, 8])
def test_tokens_per_update_do_not_depend_on_the_number_of_processes(composed, processes):
    given = options.given(composed(preset="iwslt14.de-en", gpus=processes, processes=processes))
    preset = PRESETS["iwslt14.de-en"]
    for name, tokens in (("max_tokens", preset.tokens_per_update), ("gradinit_max_tokens", preset.gradinit_tokens)):
        assert tokens <= given[name] * processes < tokens + processes
    assert given["distributed_world_size"] == processes


def test_the_users_options_come_last(composed):
    arguments = composed("--lr", "0.25")
    assert arguments.count("--lr") == 2
    assert options.given(arguments)["lr"] == [0.25]


@pytest.mark.parametrize(
    ("further", "name"),
    [
        (["--save-dir", "elsewhere"], "save-dir"),
        (["-s", "en", "-t", "de"], "source-lang"),
        (["-sen"], "source-lang"),
        (["--target-lang=de"], "target-lang"),
        (["--seed", "2"], "seed"),
        (["--user-dir", "/nonexistent"], "user-dir"),
        (["--distributed-world-size", "2"], "distributed-world-size"),
    ],
)
def test_options_that_the_launcher_sets_are_refused_in_any_spelling(composed, further, name):
    with pytest.raises(UserError, match=f"--{name} after --: the launcher sets it"):
        composed(*further)


def test_the_launcher_also_sets_the_device(composed):
    with pytest.raises(UserError, match="--cpu after --"):
        composed("--cpu", gpus=1)
    assert options.given(composed("--cpu"))["cpu"] is True


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--no-such", "1"], "unrecognized arguments: --no-such 1"),
        (["--drop", "0.5"], "unrecognized arguments: --drop 0.5"),  # no abbreviations
        (["--optimizer", "magic"], "argument --optimizer: invalid choice"),
        (["--lr", "1e-3x"], "invalid decimal literal"),
        (["--update-freq", "[2"], r"'\[' was never closed"),
        (["--fp16", "--bf16"], "Cannot combine --fp16 and --tpu"),
    ],
)
def test_options_that_fairseq_train_would_refuse_are_refused_in_its_words(composed, further, message):
    with pytest.raises(UserError, match=f"fairseq-train refuses its options: .*{message}"):
        composed(*further)


def test_only_what_the_first_start_took_from_another_run_is_left_out_later(composed):
    start = ["--restore-file", "a.pt", *options.RESETS]
    values = ["--lr=-1e-3", "--adam-betas", "(0.9, 0.98)", "--eval-bleu-args", '{"beam": 5}', "--no-gradinit"]
    assert options.continuing(composed(*start, *values)) == composed(*values)
    assert options.continuing(composed("--restore-file=a.pt")) == composed()


def test_a_signal_during_parsing_is_not_a_refusal():
    with pytest.raises(SystemExit, match="143"), options.fairseq_options():
        sys.exit(143)


KEPT = {
    "adam_betas": "(0.9, 0.98)",
    "label_smoothing": 0.1,
    "total_num_update": 10_000,
    "encoder_layers": 6,
    "gradinit_max_tokens": 2048,
}


@pytest.mark.parametrize(
    ("further", "lost"),
    [
        (["--optimizer", "adam", "--adam-eps", "1e-9"], set()),
        (["--criterion", "label_smoothed_cross_entropy"], set()),
        (["--optimizer", "torch_adamw"], set()),
        (["--criterion", "projected_label_smoothed_cross_entropy"], set()),
        (["--task", "gradinit_translation"], set()),
        (["--lr-scheduler=linear"], set()),
        (["-a", "post_ln_transformer_tiny"], set()),
        (["--optimizer", "sgd", "--momentum", "0.9"], {"adam_betas"}),
        (["--criterion", "cross_entropy"], {"label_smoothing"}),
        (["--task", "translation"], {"gradinit_max_tokens"}),
        (["--lr-scheduler", "inverse_sqrt", "--warmup-updates", "10"], {"total_num_update"}),
        (["-a", "transformer"], {"encoder_layers"}),
    ],
    ids=" ".join,
)
def test_only_another_choice_drops_the_options_that_belong_to_the_presets(composed, further, lost):
    given = options.given(composed(*further, preset="multi30k"))
    assert {name: given[name] for name in KEPT if name in given} == {
        name: value for name, value in KEPT.items() if name not in lost
    }
    if "--adam-eps" in further:
        assert given["adam_eps"] == 1e-9


def test_several_processes_on_a_cpu_communicate_through_gloo(composed):
    two = options.given(composed(processes=2))
    assert (two["cpu"], two["distributed_backend"], two["ddp_backend"]) == (True, "gloo", "legacy_ddp")
    assert "distributed_backend" not in options.given(composed())


def test_a_corpus_without_a_preset_gets_the_general_one():
    assert preset_for("multi30k") == "multi30k"
    assert preset_for("mine") == "other"


@pytest.mark.parametrize(
    "further",
    [
        ["--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.1"],
        ["--criterion", "cross_entropy"],
        ["--task", "translation", "--arch", "transformer_iwslt_de_en"],
        ["--no-gradinit", "--warmup-updates", "100", "--lr", "5e-4"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("preset", PRESETS)
def test_fairseqs_parser_accepts_every_preset_with_every_documented_change(composed, preset, further):
    arguments = composed(*further, preset=preset)
    parsed = fairseq_options.parse_args_and_arch(fairseq_options.get_training_parser(), arguments)
    assert parsed.max_update == PRESETS[preset].options["max-update"]


FREELY = [
    *("--log-interval", "7", "--watch-updates", "0", "--patience", "3", "--stop-time-hours", "1"),
    *("--keep-interval-updates", "2", "--keep-best-checkpoints", "2", "--max-epoch", "7", "--max-tokens-valid", "99"),
]


def test_changed_options_are_named_except_those_that_only_prolong_or_log(composed):
    before = composed("--lr", "0.1", "--max-update", "10")
    assert options.changed(before, composed("--max-update", "10", "--lr=1e-1")) == []
    # started from a checkout that no longer exists
    moved = ["/nonexistent" if argument == options.USER_DIR else argument for argument in before]
    assert options.changed(moved, [*before, *FREELY]) == []
    other = ["other/bin", *before[1:], "--lr", "0.2", "--fp16", "--arch", "post_ln_transformer_tiny"]
    assert options.changed(before, other) == [
        "arch post_ln_transformer_small there, post_ln_transformer_tiny here",
        f"data {before[0]} there, other/bin here",
        "fp16 unset there, set here",
        "lr 0.1 there, 0.2 here",
    ]
    assert options.changed(before, [*before, "--initializer", "admin"]) == ["initializer unset there, admin here"]


def test_more_updates_are_another_run_unless_the_schedule_stays_the_same(composed):
    """The linear schedule ends at --max-update, so more updates would raise the next learning rate."""
    assert options.changed(composed("--max-update", "10"), composed("--max-update", "20")) == [
        "max-update 10 there, 20 here"
    ]
    schedules = [["--lr-scheduler", name] for name in options.ENDLESS]
    for same in (["--total-num-update", "20"], *schedules):
        assert options.changed(composed(*same, "--max-update", "10"), composed(*same, "--max-update", "20")) == []


def test_a_file_of_another_run_is_the_same_in_any_spelling_of_its_path(composed, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    absolute = composed("--gradinit-from", str(tmp_path / "other"))
    (tmp_path / "other/gradinit.safetensors").touch()
    for spelled in ("other", "./other", "link", "other/gradinit.safetensors"):
        assert options.changed(composed("--gradinit-from", spelled), absolute) == []
    assert options.changed([*composed(), "--gradinit-from", "other"], absolute) == [], "noted by an earlier version"
    assert options.changed(composed("--gradinit-from", "elsewhere"), absolute) != []
