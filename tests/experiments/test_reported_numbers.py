"""The tables of README and docs that summarize the comparison study say what its committed readings say."""

import itertools
from pathlib import Path

import pytest
from comparison import measures
from comparison.cells import Cell
from comparison.collect import BLEU, chosen_checkpoint
from comparison.groups import Group, Part, by_part
from comparison.known import known
from comparison.settings import SETTINGS

from gradinit_mt.common import journal
from gradinit_mt.common.tables import spread

RATES = {"5e-4": 0.0005, "1e-3": 0.001, "2e-3": 0.002, "3e-3": 0.003}
NAMES = {
    "xavier with tuned warmup": "warmup-tuned",
    "warmup, tuned": "warmup-tuned",
    "T-Fixup's scales": "t-fixup",
    "Pre-LN": "pre-ln",
    "pre-ln, another model": "pre-ln",
    "GradInit": "gradinit",
    "GradInit, default form": "gradinit",
    "form `branches`": "gradinit",
    "form `signal`": "gradinit-signal",
    "GradInit as published": "gradinit-paper",
    "*branches*: GradInit's start, nothing learned": "branches",
    "*branches*: the start alone, nothing learned": "branches",
    "*hand-output*": "hand-output",
}
CORPORA = {"English to German": "multi30k.en-de", "tatoeba, German to English": "tatoeba"}
OF_THE_RULE = {"German to English": "multi30k", "Tatoeba, German to English": "tatoeba"} | CORPORA
ADAM = ("Adam", 0.98)
WIDE = ("--encoder-embed-dim", "256", "--encoder-ffn-embed-dim", "512")
LONG = 4920  # updates


@pytest.fixture(scope="module")
def parts(root):
    """The committed readings: the groups of each part of the study."""
    return by_part(known(root / "docs/results/comparison/readings.jsonl"))


@pytest.fixture(scope="module")
def group(parts):
    """A function that finds the readings of a setting and a rate in a part of the study."""
    there = {(part, group.setting, group.lr): group for part, groups in parts.items() for group in groups}

    def at(label, lr, updates=800, corpus="multi30k", further=(), optimizer=ADAM) -> Group:
        return there[Part(corpus, updates, further, *optimizer), setting(label), lr]

    return at


def setting(label: str) -> str:
    """The row of settings.py that a table's label means."""
    name = label.split(" (")[0]
    return NAMES.get(name, name)


def cells(path: Path, *columns: str) -> list[list[str]]:
    """The rows of the only table with these columns, without bold type."""
    text = path.read_text(encoding="utf-8").replace("**", "")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    [start] = [number for number, line in enumerate(lines) if line == list(columns)]
    body = itertools.takewhile(lambda line: len(line) == len(columns), lines[start + 2 :])
    return list(body)


def table(path: Path, *columns: str) -> list[dict[str, str]]:
    """The same by column."""
    return [dict(zip(columns, line, strict=True)) for line in cells(path, *columns)]


def shown(group: Group, value, digits: int = 2) -> str:
    """What a table says of a group: mean, deviation and number of seeds, or that it fails."""
    seeds = f"({len(group.readings)})"
    if group.failed == len(group.readings):
        return f"fails {seeds}"
    values = group.values(value)
    return f"{spread(values, digits)} {seeds}" if values else "not logged"


def dropout(value: str) -> tuple[str, ...]:
    """The options of a run with this dropout; the bench's is 0.1."""
    return () if value == "0.1" else ("--dropout", value)


def lowest(reading):
    """The lowest validation loss of the run."""
    return min(reading["validation"].values())


def validation_bleu(reading):
    """Of the checkpoint that is scored on the test set."""
    return reading["scores"][chosen_checkpoint(reading)]["valid"][BLEU]["value"]


def bleu_of_the_last(reading, split):
    """Whatever the other checkpoint has."""
    return reading["scores"]["last"][split][BLEU]["value"]


def test_readme_shows_the_scores_of_the_demo(root):
    lines = (root / "README.md").read_text(encoding="utf-8").splitlines()
    scores = (root / "docs/results/sample/scores.txt").read_text(encoding="utf-8").splitlines()
    start = lines.index(f"    {scores[0]}")
    assert [line.strip() for line in lines[start : start + len(scores)]] == scores


def test_readme_has_the_validation_losses_by_rate(group, root):
    settings = ("xavier with tuned warmup", "Pre-LN", "T-Fixup's scales", "*hand-output*", "GradInit")
    rows = table(root / "README.md", "learning rate", *settings)
    assert [row["learning rate"] for row in rows] == list(RATES)
    for row in rows:
        for label in settings:
            assert row[label] == shown(group(label, RATES[row["learning rate"]]), measures.validation), (row, label)


@pytest.mark.parametrize(("beta2", "seeds", "others_at_least"), [(0.98, 3, 20), (0.9, 1, 6), (0.999, 1, 6)])
def test_each_run_of_gradinit_ends_below_every_run_of_warmup_and_of_a_published_alternative(
    parts, beta2, seeds, others_at_least
):
    ours = ("gradinit", "gradinit-signal", "hand-output", "t-fixup-gradinit", "branches")
    for lr in RATES.values():
        groups = [group for group in parts[Part("multi30k", 800, (), "Adam", beta2)] if group.lr == lr]
        [gradinit] = [group for group in groups if group.setting == "gradinit"]
        others = [group for group in groups if group.setting not in ours]
        assert len(gradinit.readings) == seeds
        assert len(others) >= others_at_least
        # some runs lack the other losses
        assert all(len(group.values(measures.smoothed)) + group.diverged == len(group.readings) for group in others), lr
        for value in (measures.training, measures.validation, measures.smoothed):
            assert max(gradinit.values(value)) < min(found for group in others for found in group.values(value)), lr


@pytest.mark.parametrize(
    ("file", "first"), [("docs/results/README.md", "setting"), ("docs/small-branches.md", "initialization")]
)
def test_docs_have_the_training_losses_by_setting(group, root, file, first):
    rows = [row for row in table(root / file, first, *RATES) if setting(row[first]) in SETTINGS]
    assert len(rows) >= 3
    for row in rows:
        for label, lr in RATES.items():
            assert row[label] == shown(group(row[first], lr), measures.training), (row, label)


def test_docs_have_the_rule_by_hand_beside_learned_scales(group, root):
    names = ("*hand-output*", "form `branches`")
    rows = table(root / "docs/small-branches.md", "corpus", "learning rate", "seed", *names)
    assert len(rows) >= 11
    for row, name in itertools.product(rows, names):
        found = group(name, RATES[row["learning rate"]], corpus=OF_THE_RULE[row["corpus"]])
        [loss] = [measures.validation(reading) for reading in found.readings if str(reading["seed"]) == row["seed"]]
        assert row[name] == f"{loss:.2f}", (row, name)


def test_readme_has_the_scores_after_20_epochs(group, root):
    rows = cells(root / "README.md", "", "dropout 0.1: validation", "test", "dropout 0.2: validation", "test")
    assert len(rows) == 4
    for label, *scores in rows:
        for value, pair in (("0.1", scores[:2]), ("0.2", scores[2:])):
            if pair != ["not run"] * 2:
                found = group(label, 0.001, LONG, further=dropout(value))
                assert pair == [shown(found, validation_bleu, 1), shown(found, measures.bleu, 1)], (label, value)


def test_docs_have_the_losses_and_scores_after_20_epochs(group, root):
    losses = {"training loss": measures.training, "validation loss, lowest": lowest, "at the end": measures.validation}
    scores = {"BLEU, validation": validation_bleu, "test": measures.bleu}
    columns = ("dropout", "learning rate", "setting", "seeds", *losses, *scores)
    rows = table(root / "docs/results/README.md", *columns)
    assert len(rows) >= 6
    for row in rows:
        found = group(row["setting"], RATES[row["learning rate"]], LONG, further=dropout(row["dropout"]))
        assert row["seeds"] == str(len(found.readings))
        for column, value in (losses | scores).items():
            assert row[column] == spread(found.values(value)), (row, column)


def test_docs_have_every_seed_of_20_epochs(group, root):
    losses = {"validation loss, lowest": lowest, "at the end": measures.validation}
    scores = {"BLEU of the last, validation": "valid", "test": "test"}
    columns = ("dropout", "initialization", "seed", "training loss", *losses, *scores)
    rows = table(root / "docs/small-branches.md", *columns)
    assert len(rows) == 16
    for row in rows:
        readings = group(row["initialization"], 0.001, LONG, further=dropout(row["dropout"])).readings
        [reading] = [reading for reading in readings if str(reading["seed"]) == row["seed"]]
        assert row["training loss"] == f"{measures.training(reading):.2f}", row
        for column, value in losses.items():
            assert row[column] == f"{value(reading):.3f}", (row, column)
        for column, split in scores.items():
            assert row[column] == f"{bleu_of_the_last(reading, split):.2f}", (row, column)


def first_at(reading, loss):
    """The update at which the validation loss first reaches this one, between two validations."""
    found = sorted((int(update), value) for update, value in reading["validation"].items())
    after = next(index for index, (_, value) in enumerate(found) if value <= loss)
    (start, above), (end, below) = found[after - 1 : after + 1]
    return round(start + (end - start) * (above - loss) / (above - below))


def test_docs_have_the_updates_by_which_others_reach_gradinits_loss(group, root):
    others = ("t-fixup", "pre-ln", "warmup, tuned")
    columns = ("dropout", "seed", "learning", "GradInit, with learning", *others)
    rows = table(root / "docs/results/README.md", *columns)
    assert len(rows) == 8
    for row in rows:

        def of_seed(label, row=row):
            readings = group(label, 0.001, LONG, further=dropout(row["dropout"])).readings
            [found] = [reading for reading in readings if str(reading["seed"]) == row["seed"]]
            return found

        ours = of_seed("GradInit")
        learning = round(LONG / (ours["seconds"] / ours["initialization_seconds"] - 1))
        assert row["learning"] == str(learning)
        assert row["GradInit, with learning"] == str(800 + learning)
        for label in others:
            if row[label] != "not run":
                assert row[label] == f"{first_at(of_seed(label), ours['validation']['800']):,}", (row, label)


def test_docs_have_the_losses_by_which_a_length_of_warmup_is_chosen(group, root):
    readings = known(root / "docs/results/comparison/readings.jsonl")
    same = {"corpus": "multi30k", "updates": 800, "beta2": 0.98, "seed": 101, "further": []}
    of_the_choice = [reading for reading in readings if same.items() <= reading.items()]
    path = root / "docs/results/README.md"
    rows = table(path, "updates of warmup", *RATES)
    assert [row["updates of warmup"] for row in rows] == ["100", "200", "400", "800"]
    for label, lr in RATES.items():
        losses = {r["setting"].removeprefix("warmup-"): measures.validation(r) for r in of_the_choice if r["lr"] == lr}
        assert {row["updates of warmup"]: row[label] for row in rows} == {
            n: f"{loss:.2f}" for n, loss in losses.items()
        }
        best = min(losses, key=lambda updates: losses[updates])
        assert {reading["chosen"][-1] for reading in group("warmup-tuned", lr).readings} == {best}
        assert f"**{losses[best]:.2f}**" in path.read_text(encoding="utf-8")


def test_docs_have_the_losses_at_other_values_of_beta2(group, root):
    rows = table(root / "docs/small-branches.md", "beta2", "initialization", *RATES)
    known_rows = [row for row in rows if setting(row["initialization"]) in SETTINGS]
    assert len(known_rows) == 18
    for row in known_rows:
        for label, lr in RATES.items():
            found = group(row["initialization"], lr, optimizer=("Adam", float(row["beta2"])))
            assert f"{row[label]} (1)" == shown(found, measures.training), (row, label)


MEASURED = {
    "training loss": (measures.training, 2),
    "validation loss": (measures.validation, 2),
    "source gain": (measures.gain, 1),
}


def require_measured(row, reading):
    """What the row says of a run is what its reading says."""
    for column, (value, digits) in MEASURED.items():
        assert row[column] == f"{value(reading):z.{digits}f}", (row, column)


def test_docs_have_the_losses_of_a_wider_model(group, root):
    rows = table(root / "docs/small-branches.md", "learning rate", "initialization", *MEASURED)
    assert len(rows) == 7
    for row in rows:
        [reading] = group(row["initialization"], float(row["learning rate"]), further=WIDE).readings
        require_measured(row, reading)


def test_cells_that_were_trained_again_have_the_same_losses_at_every_update(root):
    folder = root / "docs/results/comparison"
    first = known(folder / "readings.jsonl") + journal.load(folder / "readings-cpu.jsonl")
    again = known(folder / "repeats.jsonl")
    assert len(again) == 3
    for reading in again:
        same = [
            found for found in first if Cell.of(found) == Cell.of(reading) and "H200" not in found.get("device", "")
        ]
        assert len(same) == 1
        for name in ("training", "validation", "smoothed"):
            assert same[0][name] == reading[name], (Cell.of(reading).name, name)


def test_docs_have_the_losses_of_a_wider_model_with_other_settings(root):
    readings = known(root / "docs/results/comparison/width.jsonl")
    there = {(reading["lr"], " ".join(reading["further"])): reading for reading in readings}
    rows = table(root / "docs/small-branches.md", "learning rate", "options", *MEASURED)
    assert len(rows) == len(there) == 4
    for row in rows:
        further = " ".join([*WIDE, row["options"].strip("`")])
        require_measured(row, there[float(row["learning rate"]), further])


def test_docs_have_the_losses_with_fewer_iterations(group, root):
    readings = known(root / "docs/results/comparison/iterations.jsonl")
    columns = [f"{number} iterations" for number in (40, 20, 10)]
    rows = table(root / "docs/small-branches.md", "learning rate", "seed", *columns)
    shown = [(row, column) for row in rows for column in columns if row[column] != "not run"]
    assert len(shown) == 8 + len(readings)
    for row, column in shown:
        lr, number = RATES[row["learning rate"]], column.split()[0]
        fewer = [r for r in readings if r["lr"] == lr and r["further"] == ["--gradinit-iterations", number]]
        candidates = group("GradInit", lr).readings if number == "40" else fewer
        [reading] = [reading for reading in candidates if str(reading["seed"]) == row["seed"]]
        assert row[column] == f"{measures.validation(reading):.2f}", (row, column)


def test_docs_have_the_losses_on_other_corpora(group, root):
    rows = table(root / "docs/small-branches.md", "corpus", "initialization", *MEASURED)
    known_rows = [row for row in rows if setting(row["initialization"]) in SETTINGS]
    assert len(known_rows) >= 4
    for row, (column, (value, digits)) in itertools.product(known_rows, MEASURED.items()):
        found = group(row["initialization"], 0.001, corpus=CORPORA[row["corpus"]])
        assert row[column] == shown(found, value, digits), (row, column)


@pytest.mark.parametrize("corpus", CORPORA.values())
def test_each_run_of_gradinit_ends_below_every_other_run_on_other_corpora(parts, corpus):
    """Of its default form; warmup is left out on the seed by which its length is chosen."""
    [there] = [groups for part, groups in parts.items() if (part.corpus, part.updates) == (corpus, 800)]
    losses = {found.setting: found.values(measures.validation) for found in there if found.lr == 0.001}
    losses.pop("hand-output", None)  # read off the default form's scales
    ours = losses.pop("gradinit")
    assert len(ours) == len(losses["t-fixup"]) == 3
    assert max(ours) < min(map(min, losses.values()))
