"""The benchmark of speed: its contenders compute the same, its tables are complete. No test looks at a time."""

import subprocess
import sys
from types import SimpleNamespace

import contenders
import gradinit_cost
import measuring
import pytest
import speed
import torch
import until_loss

from gradinit_mt.common.errors import UserError

SMALL = ["--tokens", "128", "--batches", "1", "--rounds", "1", "--warmup", "1"]


@pytest.fixture(scope="module")
def measured(toy_corpus, tmp_path_factory) -> tuple[dict, list[str]]:
    """Training and translation with the toy corpus: facts, and the paragraphs of the text."""
    checkpoint = tmp_path_factory.mktemp("speed") / "checkpoint.pt"
    arguments = [str(toy_corpus), *SMALL, "--each", "--no-memory", "--checkpoint", str(checkpoint)]
    options = speed.parse_arguments([*arguments, "--generation-tokens", "30", "--generation-batches", "1"])
    corpus = speed.PreparedCorpus.load(toy_corpus)
    training = speed.Training(options, corpus)
    trainer = training.trainer(speed.FLOAT32)
    training.update(speed.FLOAT32, trainer, training.batches)
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(checkpoint), {})
    parts = speed.parts(options, corpus)
    assert list(parts) == ["speed-tiny6-each", "translation-toy"]
    (facts, text), (translation, table) = (measure(options, corpus) for measure in parts.values())
    return facts | translation, [*text.strip().split("\n\n"), *table.strip().split("\n\n")]


def test_contenders_start_from_the_same_loss(measured):
    losses = measured[0]["training"]["bits_before"]
    narrow = [name for name in losses if name.startswith("ours") or name.endswith("bfloat16")]
    narrow = [name for name in narrow if name not in (speed.FLOAT32, "ours - bfloat16")]
    assert len(narrow) == 8
    for name, loss in losses.items():
        assert loss == pytest.approx(losses[speed.STOCK], rel=1e-2 if name in narrow else 1e-5), name


def test_every_contender_trains(measured):
    training = measured[0]["training"]
    assert all(training["bits_after"][name] < before - 0.02 for name, before in training["bits_before"].items())


def test_the_tables_name_every_contender_and_optimization(measured):
    facts, (head, training, optimizations, products, other_head, translation) = measured
    assert head.startswith(f"{other_head}; tiny6")
    assert other_head.endswith("; toy")
    assert [line.split("  ")[0] for line in training.splitlines()[1:]] == list(facts["training"]["seconds"])
    rows = optimizations.splitlines()[1:-1]
    assert [row.split("  ")[0] for row in rows] == list(contenders.optimizations("multi30k"))
    assert all(int(row.split()[-1]) > 5 for row in rows)
    assert products.count("GFLOP an update in products") == 3
    assert [line.split("  ")[0] for line in translation.splitlines()[1:]] == [
        *(speed.STOCK, speed.FLOAT32, speed.BFLOAT16)
    ]


def test_products_are_counted_from_their_sizes(measured):
    """Linear layers, on every token: 2 operations per weight forward, and twice that backward."""
    training = measured[0]["training"]
    tokens = sum(rows * length for rows, length in training["shapes"])
    linear = 6 * training["parameters"] * tokens  # embeddings, not multiplied, are of the projection's size
    for name in (speed.STOCK, speed.BFLOAT16):
        assert training["profiles"][name]["flops"] == pytest.approx(linear, rel=0.2)


def test_no_captured_step_is_profiled():
    """A profiler sees one operation of it."""
    gpu = torch.device("cuda")
    chosen = contenders.contenders("multi30k", gpu, False, [])
    stock, *ours = speed.profiled_contenders(gpu)
    assert stock == speed.STOCK
    assert [chosen[name].options[-2:] for name in ours] == [["--capture-steps", "off"]] * 2


def test_a_profile_without_products_says_so():
    profile = {"flops": 0, "seconds": 0.0, "shares": {}}
    facts = {"matrix_rates": {"float32": {128: 1e9}, "bfloat16": {128: 1e9}}, "profiles": {"ours, bfloat16": profile}}
    facts["shapes"] = [[1, 1]]
    assert speed.roofline_lines(facts, 128).endswith("ours, bfloat16: the profiler saw no products")


def test_translations_in_float32_are_those_of_stock(measured):
    translation = measured[0]["translation"]
    assert translation["sentences"] > 0
    assert translation["differing"][speed.STOCK] == translation["differing"][speed.FLOAT32] == 0


@pytest.mark.parametrize("optimization", ["dropout", "merged projections", "attention as products"])
def test_a_change_ends_with_its_block(optimization):
    modules = contenders.attention, contenders.layers, contenders.encoder_decoder
    before = [dict(vars(module)) for module in modules]
    with contenders.optimizations("multi30k")[optimization].removed.change():
        assert [dict(vars(module)) for module in modules] != before
    assert [dict(vars(module)) for module in modules] == before


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (speed, ["--exported", "model"], "--exported needs --checkpoint"),
        (speed, ["corpus", "--no-training"], "--no-training needs --checkpoint"),
        (speed, ["--device", "nonsense"], "nonsense: expected cpu or cuda"),
        (until_loss, ["corpus", "--bits", "6", "--device", "cuda"], "cuda: PyTorch finds no GPU here"),
        (gradinit_cost, ["--device", "cuda"], "cuda: PyTorch finds no GPU here"),
        (gradinit_cost, ["--run", "-1"], "-1: expected a whole number of at least 0"),
        (gradinit_cost, ["--run", "2", "--gamma", "-1"], "-1: expected a number of at least 1e-09"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_arguments_that_cannot_be_meant_are_refused(main, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    with pytest.raises(SystemExit):
        main.main()
    assert message in capsys.readouterr().err


@pytest.fixture
def stand_in(toy_corpus, monkeypatch):
    """Runs speed.py with a training that is not measured and a translation that fails."""

    def translation(options, corpus):
        raise UserError("no translation")

    monkeypatch.setattr(speed, "training_result", lambda options, corpus: ({"measured": 1}, "measured\n"))
    monkeypatch.setattr(speed, "translation_result", translation)

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["speed.py", str(toy_corpus), *map(str, arguments)])
        speed.main()

    return main


def test_what_would_be_lost_is_refused_before_it_is_measured(stand_in, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "speed-tiny6.txt").touch()
    for arguments, message in (
        (["--checkpoint", tmp_path / "none.pt"], "none.pt: no such checkpoint"),
        (["--output", tmp_path / "file"], "file: cannot be made a directory"),
        (["--output", tmp_path], "speed-tiny6.txt: already exists"),
    ):
        with pytest.raises(UserError, match=message):
            stand_in(*arguments)
        assert capsys.readouterr().out == ""
    stand_in("--output", tmp_path / "new")
    assert (tmp_path / "new" / "speed-tiny6.txt").read_text() == "measured\n"


def test_training_is_written_although_translation_fails(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "require_models", lambda options, corpus: None)
    with pytest.raises(UserError, match="no translation"):
        stand_in("--checkpoint", tmp_path / "model.pt", "--output", tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["speed-tiny6.json", "speed-tiny6.txt"]


def test_a_peak_whose_process_fails_is_missing(tmp_path):
    (tmp_path / "script.py").write_text("raise SystemExit(3)\n")
    peak = measuring.printed_number(str(tmp_path / "script.py"), [])
    assert measuring.memory_columns(peak, 2.0, 9) == " failed" + " " * 9
    assert measuring.memory_columns(1.0, peak, 9) == "   1.00" + " " * 9
    assert measuring.memory_columns(1.0, 2.0, 9) == "   1.00     0.50"


def test_batches_that_hold_no_sentence_are_refused():
    with pytest.raises(UserError, match="batches of 1 tokens: every sentence is longer"):
        speed.batches_by_length(speed.random_pairs(4), 1)


def test_batches_are_spread_over_lengths_the_largest_first():
    batches = speed.batches_by_length(speed.random_pairs(400), 256, 3)
    sizes = [batch["target"].numel() for batch in batches]
    assert len({batch["target"].shape[1] for batch in batches}) == 3
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) <= 256


def test_contenders_take_turns_and_warm_up_without_timing():
    order = []
    work = {name: [lambda piece=name + number: order.append(piece) for number in "12"] for name in "ab"}
    times = speed.interleaved(work, 2, 1, SimpleNamespace(type="cpu"))
    assert " ".join(order) == "b1 a1 b2 a2 a1 b1 a2 b2 b1 a1 b2 a2"
    assert {name: len(measured) for name, measured in times.items()} == {"a": 2, "b": 2}


def test_memory_is_measured_on_random_sentences_by_a_process(root):
    command = [sys.executable, str(root / "benchmarks/speed.py"), *SMALL, "--peak-of", speed.BFLOAT16]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 0.01 < float(done.stdout) < 4


def test_each_contender_trains_until_the_loss_is_reached(toy_corpus):
    """The same losses; one that nobody reaches ends at the limit."""
    arguments = [str(toy_corpus), "--tokens", "128"]
    found = {}
    for bits in ("0", "100"):
        options = until_loss.parse_arguments([*arguments, "--bits", bits])
        corpus = until_loss.PreparedCorpus.load(toy_corpus)
        found[bits] = until_loss.measure(until_loss.training(options, corpus), float(bits), 2, 5)
    assert {facts["updates"] for facts in found["0"].values()} == {5}
    assert {facts["updates"] for facts in found["100"].values()} == {2}
    assert found["0"][speed.BFLOAT16]["bits"] == pytest.approx(found["0"][speed.STOCK]["bits"], rel=1e-2)
    assert until_loss.table(found["0"], 0).count(" not ") == len(found["0"])
    only_ours = {speed.STOCK: found["0"][speed.STOCK], speed.BFLOAT16: found["100"][speed.BFLOAT16]}
    only_ours[speed.BFLOAT16] = only_ours[speed.BFLOAT16] | {"bits": [0.0]}
    assert until_loss.table(only_ours, 0).count(">") == 1
