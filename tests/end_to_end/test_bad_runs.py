"""Corpora, save dirs, checkpoints, records, results, logs and options that a command cannot work with.

Each is named in a message, and nothing is changed or left behind. More rows: ``test_bad_corpora.py`` (preparation),
``test_bad_exports.py`` (models for CTranslate2), ``test_crafted_checkpoints.py`` (code).
"""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusing import BEST, EVALUATE, LAST, RECORD, Bad, refused, removed, text
from safetensors import safe_open
from safetensors.torch import load_file, save_file

NEW = "train corpus --save-dir new --device cpu"
RESUME = "train corpus --save-dir run --device cpu"
EXPORT = "export run --data corpus --output new/model"
AVERAGE = "average --files run/checkpoint_best.pt other.pt --output average.pt"
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
    Bad("text for JSON", NEW, r".*corpus\.json: not valid JSON", text(CORPUS, "{")),
    Bad("JSON nested too deep", NEW, r".*corpus\.json: not valid JSON", text(CORPUS, "[" * 100_000)),
    Bad(
        "a list for numbers",
        NEW,
        r".*corpus\.json: counts is \[1\], expected another type",
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
    ("-- --weight-decay inf", rf"{REFUSED}--weight-decay is inf, expected at least 0"),
    ("-- --clip-norm nan", rf"{REFUSED}--clip-norm is nan, expected at least 0"),
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


def changed(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Changes a checkpoint."""

    def spoil(folder: Path) -> None:
        state = torch.load(folder / name, weights_only=True)
        change(state)
        torch.save(state, folder / name)

    return spoil


def cut(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-3000])

    return spoil


def one_bit(folder: Path) -> None:
    content = bytearray((folder / BEST).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / BEST).write_bytes(content)


def scripted(folder: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), folder / BEST)


def pair(change: Callable[[dict], object] = lambda state: None) -> Callable[[Path], None]:
    """Another checkpoint for an average."""

    def spoil(folder: Path) -> None:
        shutil.copy(folder / LAST, folder / "other.pt")
        changed("other.pt", lambda state: (state.update(other=1), change(state)))(folder)

    return spoil


UNREADABLE = r"run/checkpoint_best\.pt: cannot be read as a checkpoint: "
CHECKPOINTS = [
    Bad("none", f"{EVALUATE} --checkpoint none.pt", r"none\.pt: no such checkpoint; \. holds no \.pt file"),
    Bad("a directory", f"{EVALUATE} --checkpoint run", r"run: no such checkpoint"),
    Bad("truncated", EVALUATE, rf"{UNREADABLE}PytorchStreamReader .*was the training killed", cut(BEST)),
    Bad(
        "one bit changed",
        EVALUATE,
        r"run/checkpoint_best\.pt: damaged, its part \S+ differs from its checksum",
        one_bit,
    ),
    Bad("empty", EXPORT, rf"{UNREADABLE}EOFError", text(BEST, b"")),
    Bad("text", EXPORT, rf"{UNREADABLE}it is no file of torch\.save", text(BEST, "hello")),
    Bad(
        "a plain pickle",
        EVALUATE,
        rf"{UNREADABLE}it is no checkpoint, or holds more",
        text(BEST, pickle.dumps({"a": 1})),
    ),
    Bad("TorchScript", EVALUATE, rf"{UNREADABLE}it is no checkpoint, or holds more", scripted),
    Bad("a list", RESUME, r".*checkpoint_last\.pt: not a fairseq checkpoint", lambda f: torch.save([1], f / LAST)),
    Bad(
        "of another model",
        EXPORT,
        r".*checkpoint_best\.pt: its model is 'fconv'; expected one of post_ln_transformer, ",
        changed(BEST, lambda state: state["cfg"]["model"].update(_name="fconv")),
    ),
    Bad(
        "of the reverse direction",
        EVALUATE,
        r".*checkpoint_best\.pt: was trained from en to de, the corpus is de to en",
        changed(BEST, lambda state: state["cfg"]["task"].update(source_lang="en", target_lang="de")),
    ),
    Bad(
        "of another vocabulary",
        EVALUATE,
        r"run/checkpoint_best\.pt: its encoder has 9 subwords, the dictionary of corpus for de [\d,]+; give the corpus",
        changed(BEST, lambda state: state["model"].update({"encoder.embed_tokens.weight": torch.ones(9, 32)})),
    ),
    Bad(
        "without a tensor",
        EXPORT,
        r'run/checkpoint_best\.pt: .*Missing key\(s\) in state_dict: "encoder\.layers\.0\.fc1\.weight"',
        changed(BEST, lambda state: state["model"].pop("encoder.layers.0.fc1.weight")),
    ),
    Bad(
        "without counts",
        EVALUATE,
        r".*lacks what fairseq",
        changed(BEST, lambda state: state["optimizer_history"].clear()),
    ),
    Bad("too few", "average run --last 3", r"run: 3 checkpoints by update wanted, 0 found \(none\); ask for fewer"),
    Bad("a missing one to average", AVERAGE, r"other\.pt: no such checkpoint"),
    Bad(
        "the same twice",
        AVERAGE,
        r"an average needs two or more different",
        lambda f: shutil.copy(f / BEST, f / "other.pt"),
    ),
    Bad(
        "of another shape",
        AVERAGE,
        r"encoder\.layers\.0\.fc1\.bias has different shapes",
        pair(lambda state: state["model"].update({"encoder.layers.0.fc1.bias": torch.ones(1)})),
    ),
    Bad(
        "an average that exists", AVERAGE.replace("average.pt", BEST), rf"{BEST}: exists and is not the average", pair()
    ),
    Bad(
        "an average in no directory",
        AVERAGE.replace("average.pt", "no/a.pt"),
        r"no: no such directory; make it",
        pair(),
    ),
    Bad("a full disk", AVERAGE, r"average\.pt: cannot be written \(.*too large.*\); make room", pair(), largest=9000),
]


@pytest.mark.parametrize("bad", CHECKPOINTS, ids=lambda bad: bad.name)
def test_checkpoints(folder, bad):
    refused(bad, folder)


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
