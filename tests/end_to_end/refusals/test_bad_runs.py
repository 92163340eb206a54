"""Corpora, save dirs, records, results, logs and options that a command cannot work with.

Each is named in a message, and nothing is changed or left behind. More rows: ``test_bad_corpora.py`` (preparation),
``test_bad_checkpoints.py``, ``test_bad_exports.py`` (models for CTranslate2), ``test_crafted_checkpoints.py`` (code).
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusing import BEST, EVALUATE, LAST, RECORD, RESUME, Bad, refused, removed, text
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.evaluation.checks import data_checksums

NEW = "train corpus --save-dir new --device cpu"
REFUSED = "fairseq-train refuses its options: "


def entries(name: str, /, **changes: object) -> Callable[[Path], object]:
    """Changes entries of a JSON file."""

    def spoil(folder: Path) -> None:
        stored = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(stored | changes))

    return spoil


CORPUS = "corpus/corpus.json"
CORPORA = [
    Bad(
        "no corpus",
        "train nowhere --save-dir new",
        r".*nowhere: not a prepared corpus \(no corpus\.json\); make one with",
    ),
    Bad("no corpus, and no save dir", "train run", r".*run: not a prepared corpus"),
    Bad(
        "a path that fairseq would split",
        "train a:b --save-dir new",
        r".*a:b: fairseq splits paths at ':'; give a path without it",
        lambda folder: (folder / "corpus").rename(folder / "a:b"),
    ),
    Bad("text for JSON", NEW, r".*corpus\.json: cannot be read", text(CORPUS, "{")),
    Bad("JSON nested too deep", NEW, r".*corpus\.json: cannot be read", text(CORPUS, "[" * 100_000)),
    Bad(
        "a list for numbers",
        NEW,
        r".*corpus\.json: missing, unknown or of another type: counts; prepare",
        entries(CORPUS, counts=[1]),
    ),
    Bad("a path as a language", NEW, r"language '\.\./x': expected only letters", entries(CORPUS, source="../x")),
    Bad("a path as a name", NEW, r"the corpus's name is '\.\./\.\./x', expected one", entries(CORPUS, name="../../x")),
    Bad(
        "a file outside the corpus",
        NEW,
        r".*corpus\.json: names the file \.\./x, expected one in the corpus",
        entries(CORPUS, sha256={"../x": "0"}),
    ),
    Bad("a missing file", NEW, r".*bin/train\.de-en\.de\.bin: missing", removed("corpus/bin/train.de-en.de.bin")),
    Bad(
        "other binarized data", NEW, r".*train\.de-en\.de\.bin: changed", text("corpus/bin/train.de-en.de.bin", b"abc")
    ),
    Bad(
        "the dictionary of another corpus",
        NEW,
        r".*dict\.de\.txt: 2 symbols, expected [\d,]+: the dictionary of another corpus; prepare it again",
        text("corpus/bin/dict.de.txt", "a 1\nb 1\n"),
    ),
    Bad(
        "a dictionary with a symbol twice",
        NEW,
        r".*dict\.de\.txt: holds 'x' twice; prepare the corpus again",
        lambda folder: text("corpus/bin/dict.de.txt", "x 1\n" * dictionary_lines(folder))(folder),
    ),
    Bad("another test set", EVALUATE, r"corpus/test\.de: changed since the corpus", text("corpus/test.de", "x\n")),
    Bad("other references", EVALUATE, r"corpus/raw/test\.en: changed since", text("corpus/raw/test.en", "x\n")),
    Bad(
        "another binarized test set", EVALUATE, r".*test\.de-en\.de\.bin: ch", text("corpus/bin/test.de-en.de.bin", "x")
    ),
]


def dictionary_lines(folder: Path) -> int:
    return len((folder / "corpus/bin/dict.de.txt").read_text().splitlines())


@pytest.mark.parametrize("bad", CORPORA, ids=lambda bad: bad.name)
def test_prepared_corpora(folder, bad):
    refused(bad, folder)


SAVE_DIRS = [
    Bad("a file", "train corpus --save-dir corpus/test.de", r".*test\.de: exists and is not a directory; use another"),
    Bad(
        "below a file", "train corpus --save-dir corpus/test.de/x", r".*test\.de/x: cannot be made \(Not a directory\)"
    ),
    Bad("not writable", "train corpus --save-dir /proc/x", r"/proc/x: cannot be made \(No such file or directory\)"),
    Bad(
        "of something else",
        "train corpus --save-dir corpus",
        r".*corpus is not empty and holds no run\.json; use another",
    ),
    Bad("with a colon", "train corpus --save-dir lr:1", r".*lr:1: fairseq splits paths at ':'; give a path without it"),
    Bad(
        "with a reference",
        "train corpus --save-dir ${lr}",
        r".*/\$\{lr\}: fairseq looks up another option at '\$\{'; give a path without it",
    ),
    Bad("of another run", f"{RESUME} --seed 2", r".*run holds a run with other settings \(seed 1 there, 2 here\)"),
    Bad("text for run.json", RESUME, r".*run\.json: cannot be read .*restore it", text("run/run.json", "{")),
    Bad(
        "numbers as options",
        RESUME,
        r".*run\.json: cannot be read \(its options are not",
        entries("run/run.json", options=[1]),
    ),
    Bad("unknown options", RESUME, REFUSED, entries("run/run.json", options=["x", "--none"])),
    Bad("checksums without names", RESUME, r".*run\.json: cannot be read", entries("run/run.json", data_sha256=[])),
    Bad("no list of starts", RESUME, r".*run\.json: cannot be read \(it lacks", entries("run/run.json", starts=0)),
    Bad(
        "no run.json",
        "evaluate run",
        r"run has no run\.json to name the prepared corpus; give",
        removed("run/run.json"),
    ),
    Bad("a full disk", RESUME, r"\[Errno 27\] File too large: '.*run\.json'", removed(LAST, BEST), largest=100),
]


@pytest.mark.parametrize("bad", SAVE_DIRS, ids=lambda bad: bad.name)
def test_save_dirs(folder, bad):
    refused(bad, folder)


OPTIONS = [
    ("--preset none", r"argument --preset: invalid choice: 'none' \(choose from 'sample', "),
    ("--seed -1", r"argument --seed: -1: expected a whole number from 0 to 4294967295"),
    ("--processes 0", r"argument --processes: 0: expected a whole number of at least 1"),
    ("--nodes 2", r"--rendezvous None: expected HOST:PORT, the same on all machines"),
    ("--rendezvous host", r"--rendezvous host: expected HOST:PORT"),
    ("--nodes 2 --rendezvous host:99999", r"--rendezvous host:99999: expected HOST:PORT"),
    ("--node 1", r"--node 1: expected from 0 to 0, below --nodes"),
    ("-- --save-dir x", r"--save-dir after --: the launcher sets it"),
    ("-- -s en -t de", r"--source-lang after --: the launcher sets it"),
    ("-- --no-such 1", rf"{REFUSED}unrecognized arguments: --no-such 1"),
    ("-- --initializer none", rf"{REFUSED}argument --initializer: invalid choice: 'none'"),
    ("-- --optimizer none", rf"{REFUSED}argument --optimizer: invalid choice: 'none'"),
    ("-- --lr nan", rf"{REFUSED}argument --lr: expected numbers, got: 'nan'"),
    ("-- --lr -1", rf"{REFUSED}--lr is -1\.0, expected a finite number above 0"),
    ("-- --lr-min 5", rf"{REFUSED}--lr-min is 5\.0, expected 0 to --lr"),
    (
        "-- --max-update 30 --total-num-update 20",
        rf"{REFUSED}--max-update is 30, expected at most the 20 of --total-num-update, after which .* is 0: lower",
    ),
    ("-- --warmup-updates -5", rf"{REFUSED}--warmup-updates is -5, expected at least 0"),
    ("-- --adam-betas (2,0.9)", rf"{REFUSED}--adam-betas is \(2,0\.9\), expected two numbers in \[0, 1\)"),
    ("-- --weight-decay inf", rf"{REFUSED}--weight-decay is inf, expected at least 0 and finite"),
    ("-- --clip-norm nan", rf"{REFUSED}--clip-norm is nan, expected at least 0 and finite"),
    ("-- --dropout 2", rf"{REFUSED}--dropout is 2\.0, expected from 0 to 1"),
    ("-- --label-smoothing -0.1", rf"{REFUSED}--label-smoothing is -0\.1, expected from 0 to 1"),
    ("-- --max-tokens 0", rf"{REFUSED}--max-tokens is 0, expected at least 1"),
    ("-- --update-freq 0", rf"{REFUSED}--update-freq is 0, expected at least 1"),
    ("-- --max-update -1", rf"{REFUSED}--max-update is -1, expected at least 0"),
    (
        "-- --encoder-embed-dim 7",
        rf"{REFUSED}--encoder-embed-dim is 7, expected a multiple of --encoder-attention-heads",
    ),
    ("-- --encoder-layers 0", rf"{REFUSED}--encoder-layers is 0, expected at least 1"),
    ("-- --gradinit-tau nan", rf"{REFUSED}GradInit: tau is nan, expected a finite number above 0"),
    ("-- --gradinit-iterations 0", rf"{REFUSED}GradInit: iterations is 0, expected at least 1"),
    ("-- --watch-updates -1", rf"{REFUSED}--watch-updates is -1, expected a number of updates, or 0"),
    ("-- --no-gradinit --gradinit-from run", rf"{REFUSED}--gradinit-from and --no-gradinit exclude each other"),
    ("-- --gradinit-from nowhere", r"--gradinit-from nowhere: nowhere/gradinit\.safetensors: no such file"),
    ("-- --restore-file none.pt", r"--restore-file none\.pt: no such file"),
    ("-- --finetune-from-model none.pt", r"--finetune-from-model none\.pt: no such file"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=[options for options, _ in OPTIONS])
def test_options_of_the_launcher(folder, options, message):
    refused(Bad(options, f"{NEW} {options}", message), folder)


def record(change: Callable[[dict, dict], object]) -> Callable[[Path], None]:
    """Changes the facts and the tensors of the record."""

    def spoil(folder: Path) -> None:
        path = folder / RECORD
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["facts"])
        tensors = load_file(path)
        change(facts, tensors)
        save_file(tensors, path, metadata={"facts": json.dumps(facts)})

    return spoil


def first(count: int) -> Callable[[Path], object]:
    return lambda folder: (folder / RECORD).write_bytes((folder / RECORD).read_bytes()[:count])


NO_RECORD = r"run/gradinit\.safetensors: not a record of GradInit \("
RECORDS = [
    Bad("none", "report run", r"run/gradinit\.safetensors: no such file; GradInit writes it", removed(RECORD)),
    Bad("a picture that exists", "report run --output a.png", r"a\.png: already exists", text("a.png", "kept")),
    Bad("a truncated header", "report run", rf"{NO_RECORD}.*header", first(100)),
    Bad("a truncated tensor", "report run", rf"{NO_RECORD}.*incomplete", first(-100)),
    Bad("a header of 2^64 bytes", "report run", rf"{NO_RECORD}.*too large", text(RECORD, b"\xff" * 99)),
    Bad("no facts", "report run", NO_RECORD, lambda folder: save_file({"scales": torch.ones(3)}, folder / RECORD)),
    Bad(
        "a scale that is nan",
        "report run",
        rf"{NO_RECORD}scales: a number is not finite, or not above 0",
        record(lambda _, tensors: tensors["scales"][0].fill_(torch.nan)),
    ),
    Bad("a negative scale", "report run", rf"{NO_RECORD}scales: a number", record(lambda _, t: t["scales"][0].neg_())),
    Bad(
        "too few scales",
        f"{NEW} -- --gradinit-from run",
        rf"--gradinit-from \S+run: \S*{NO_RECORD}scales: \[1\] of torch\.float64, expected \[\d+\] floats",
        record(lambda _, tensors: tensors.update(scales=tensors["scales"][:1].clone())),
    ),
    Bad(
        "an incomplete one",
        f"{NEW} -- --gradinit-from run",
        r"--gradinit-from \S+run: it holds 6 of 99 iterations; let the run that learns it finish first",
        record(lambda facts, _: facts["settings"].update(iterations=99)),
    ),
    Bad(
        "settings without one",
        "report run",
        r"the record lacks facts",
        record(lambda facts, _: facts["settings"].pop("eta")),
    ),
    Bad(
        "a history of numbers",
        "report run",
        rf"{NO_RECORD}history",
        record(lambda facts, _: facts.update(history=[1] * 6)),
    ),
    Bad(
        "a damaged one to continue",
        RESUME,
        r".*gradinit\.safetensors: not a record of GradInit",
        lambda folder: (removed(BEST, LAST)(folder), first(50)(folder)),
    ),
    Bad(
        "a picture of another kind",
        "report run --output x.txt",
        r"x\.txt: expected a name ending in \.png, \.svg, \.pdf",
    ),
    Bad("a picture below a file", f"report run --output {RECORD}/x.png", r".*safetensors: cannot be made a directory"),
]


@pytest.mark.parametrize("bad", RECORDS, ids=lambda bad: bad.name)
def test_records(folder, bad):
    refused(bad, folder)


def result(content: str, name: str = "result") -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).mkdir()
        (folder / name / "scores.json").write_text(content)

    return spoil


def result_of_the_same_data(folder: Path) -> None:
    corpus = PreparedCorpus.load(folder / "corpus")
    settings = {"settings": {"data_sha256": data_checksums(corpus, "test"), "split": "test"}, "data": {}}
    result(json.dumps(settings))(folder)


INCOMPLETE = r"result: holds no complete result "
OTHER_DATA = json.dumps({"settings": {"data_sha256": {}, "split": "test"}, "data": {}})
EVALUATIONS = [
    Bad("beam 0", f"{EVALUATE} --beam 0", r"argument --beam: 0: expected a whole number of at least 1"),
    Bad("a penalty that is nan", f"{EVALUATE} --lenpen nan", r"argument --lenpen: nan: expected a finite number"),
    Bad(
        "an average of one", f"{EVALUATE} --average 1", r"argument --average: 1: expected a whole number of at least 2"
    ),
    Bad("the training set", f"{EVALUATE} --split train", r"argument --split: invalid choice: 'train'"),
    Bad("an option that it sets", f"{EVALUATE} -- --path x", r"--path: set by this command; leave it out after --"),
    Bad("a result of something else", f"{EVALUATE} --output corpus", r"corpus: holds no complete result"),
    Bad("a damaged result", f"{EVALUATE} --output result", INCOMPLETE, result("{")),
    Bad("a list as a result", f"{EVALUATE} --output result", INCOMPLETE, result("[]")),
    Bad("a result without settings", f"{EVALUATE} --paired-with result", INCOMPLETE, result("{}")),
    Bad("no other result", f"{EVALUATE} --paired-with none", r"none: holds no complete result"),
    Bad(
        "a corpus prepared again from other text",
        EVALUATE,
        r"corpus/bin/dict\.de\.txt: not the dictionary that run/checkpoint_best\.pt was trained with",
        entries("run/run.json", data_sha256={"bin/dict.de.txt": "0"}),
    ),
    Bad(
        "a corpus that has moved",
        "evaluate run --cpu",
        r".*/corpus: the corpus that run\.json names is not there; if it has moved, give it with --data",
        lambda folder: (folder / "corpus").rename(folder / "moved"),
    ),
    Bad("of other data", f"{EVALUATE} --paired-with result", r"result: the result of other data", result(OTHER_DATA)),
    Bad(
        "a result without its translations",
        f"{EVALUATE} --paired-with result",
        r"result/hypotheses\.tok\.lc\.txt: cannot be read",
        result_of_the_same_data,
    ),
    Bad("a log without losses", "curve corpus/test.de --output x.png", r"corpus/test\.de: holds no training loss"),
    Bad(
        "a damaged log",
        "curve log --output x.png",
        r"log: a line of statistics is damaged \(KeyError\('num_updates'\)\)",
        text("log", 'x | INFO | train_inner | {"loss": 1}\n'),
    ),
]


@pytest.mark.parametrize("bad", EVALUATIONS, ids=lambda bad: bad.name)
def test_evaluations(folder, bad):
    refused(bad, folder)
