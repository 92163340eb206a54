"""What a later start of the comparison study accepts of the cells that are there, and what it says of failed ones."""

import json
import os
from dataclasses import replace

import pytest
import yaml
from comparison.cells import Cell, by_name
from comparison.configuration import load
from comparison.earlier import changed, remove_outdated_choices, require_usable
from comparison.plan import Planned
from comparison.settings import SETTINGS
from comparison.study import failures, planned_cells
from comparison.tuned import choose

from gradinit_mt.common.errors import UserError

CELL = Cell("toy", "gradinit", 1e-3, 0.98, None, 1, 100)
PLANNED = Planned(CELL, False)
TUNING = {"seed": 101, "updates": 800, "beta2": 0.98, "lengths": [100, 200]}
CONFIG = {"tuning": TUNING, "data_sha256": {"toy": {"train.de": "aa"}}}


def there(cell=CELL, **changes):
    """The parts of a reading that tell what was asked for."""
    return cell.fields | {"options": cell.options(), "by_hand": cell.row.by_hand, "end": "complete"} | changes


def test_options_are_compared_by_name():
    options = [*CELL.options(), "--dropout", "0.3", "--weight-decay", "0.1"]
    swapped = [*CELL.options(), "--dropout", "0.1", "--weight-decay", "0.3"]
    cell = replace(CELL, further=tuple(options[-4:]))
    assert changed(there(options=options), cell, CONFIG) == []
    assert changed(there(options=[*options[-4:], *options[:-4]]), cell, CONFIG) == [], "the order is no difference"
    assert changed(there(options=swapped), cell, CONFIG) == [
        "--dropout 0.1 there, 0.3 here",
        "--weight-decay 0.3 there, 0.1 here",
    ]
    assert changed(there(options=[*CELL.options(), "--share-all-embeddings"]), CELL, CONFIG) == [
        "--share-all-embeddings set there, unset here"
    ]


def test_options_by_name_are_those_that_fairseq_takes():
    found = by_name(["--lr", "1", "--no-gradinit", "--adam-betas", "(0.9, 0.98)", "--lr=2", "--lens", "1", "2"])
    assert found == {"--lr": "2", "--no-gradinit": "set", "--adam-betas": "(0.9, 0.98)", "--lens": "1 2"}


def test_another_rule_by_hand_is_a_difference():
    cell = replace(CELL, setting="hand-output")
    rule = SETTINGS["hand-output"].by_hand
    assert changed(there(cell), cell, CONFIG) == []
    assert changed(there(cell, by_hand=rule | {"fc1.weight": 0.5}), cell, CONFIG) == [
        "the scale of fc1.weight 0.5 there, 0.3 here"
    ]
    assert len(changed(there(cell, by_hand=None), cell, CONFIG)) == len(rule)


def test_another_preparation_of_the_corpus_is_a_difference():
    assert changed(there(data_sha256={"train.de": "aa", "train.en": "cc"}), CELL, CONFIG) == []
    assert changed(there(data_sha256={"train.de": "bb"}), CELL, CONFIG) == ["the corpus's train.de bb there, aa here"]


def test_another_tuning_of_the_warmup_is_a_difference():
    cell = replace(CELL, setting="warmup-tuned", beta2=0.9)

    def tuned(lengths=(100, 200), **changes):
        tried = replace(cell, updates=800, **{"seed": 101, "beta2": 0.98} | changes)
        tuning = choose([replace(tried, setting=f"warmup-{n}").fields | {"end": "diverged"} for n in lengths])["tuning"]
        return changed(there(cell, tuning=tuning), cell, CONFIG)

    assert tuned() == []
    assert tuned(seed=102) == ["the tuning's seed 102 there, 101 here"]
    assert tuned(beta2=0.9) == ["the tuning's beta2 0.9 there, 0.98 here"]
    assert tuned((100, 400)) == ["the tuning's lengths [100, 400] there, [100, 200] here"]
    assert changed(there(cell), cell, CONFIG) == []
    assert changed(there(cell, tuning={"seed": 101}), cell, CONFIG) == [], "an earlier study noted less"


def test_a_choice_of_warmup_made_otherwise_is_made_again_unless_training_has_begun(tmp_path):
    cell = replace(CELL, setting="warmup-tuned")
    directory = tmp_path / "cells" / cell.name
    directory.mkdir(parents=True)
    choice = directory / "warmup.json"
    for tuning, begun, stays in [(TUNING, False, True), (TUNING | {"lengths": [100]}, True, True)]:
        choice.write_text(json.dumps({"warmup": 100, "tuning": tuning}))
        (directory / "asked.json").write_text("{}") if begun else None
        remove_outdated_choices([Planned(cell, False)], tmp_path, CONFIG)
        assert choice.exists() == stays
    (directory / "asked.json").unlink()
    remove_outdated_choices([Planned(cell, False)], tmp_path, CONFIG)
    assert not choice.exists()


@pytest.mark.parametrize("name", ["readings", "readings-cpu", "embeddings", "width"])
def test_the_committed_readings_have_the_options_of_today(root, name):
    lines = (root / f"docs/results/comparison/{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines
    config = load(root / "experiments/comparison/config.yaml")
    config |= {"data_sha256": {name: {} for name in ("multi30k", "multi30k.en-de", "tatoeba")}}
    for reading in map(json.loads, lines):
        assert changed(reading, Cell.of(reading), config) == []


@pytest.mark.parametrize("name", ["trained.json", "measured.json", "reading.json"])
def test_a_changed_cell_is_refused(tmp_path, name):
    path = tmp_path / "cells" / CELL.name / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(there(replace(CELL, lr=2e-3))))
    with pytest.raises(UserError, match=rf"{tmp_path}.*seed1-100updates differs \(--lr 0.002 there, 0.001 here\): rem"):
        require_usable(PLANNED, tmp_path, [], CONFIG)


@pytest.mark.parametrize(("text", "message"), [("", "not JSON"), ("{}", "has no options"), ("[]", "has no options")])
def test_a_damaged_file_of_a_cell_is_named(tmp_path, text, message):
    path = tmp_path / "cells" / CELL.name / "asked.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError, match=rf"{path}: {message}.*; remove the cell's directory to train it again"):
        require_usable(PLANNED, tmp_path, [], CONFIG)


def test_a_study_looks_at_the_cells_that_are_there(root, tmp_path):
    config = yaml.safe_load((root / "experiments/comparison/smoke.yaml").read_text(encoding="utf-8"))
    config |= CONFIG | {"corpora": {"toy": ""}, "output": str(tmp_path)}
    [*_, last] = planned_cells(config)
    path = tmp_path / "cells" / last.cell.name / "reading.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(there(replace(last.cell, lr=0.5))))
    with pytest.raises(UserError, match=r"--lr 0\.5 there, 0\.001 here"):
        planned_cells(config)


def test_known_readings_are_looked_at_too(tmp_path):
    require_usable(PLANNED, tmp_path, [there(), there(replace(CELL, lr=2e-3))], CONFIG)
    other = there(options=["--lr", "0.002"])
    with pytest.raises(UserError, match=r"toy/gradinit.*updates in the file of --known differs \(--lr 0.002 there"):
        require_usable(PLANNED, tmp_path, [other], CONFIG)


def test_scores_that_are_asked_for_later_are_refused(tmp_path):
    path = tmp_path / "cells" / CELL.name / "reading.json"
    path.parent.mkdir(parents=True)
    gain, scored = {"source_gain": 1.0}, replace(PLANNED, bleu=True)
    for found in (there(**gain, end="diverged"), there(**gain, scores={"best": {}}), there()):
        path.write_text(json.dumps(found))
        require_usable(scored, tmp_path, [], CONFIG)
    path.write_text(json.dumps(there(**gain)))
    require_usable(PLANNED, tmp_path, [], CONFIG)
    with pytest.raises(UserError, match="has no scores, and a block with bleu: true asks for them: remove it"):
        require_usable(scored, tmp_path, [], CONFIG)


def test_a_failed_cell_shows_what_its_newest_step_printed(tmp_path):
    directory = tmp_path / "cells" / CELL.name
    directory.mkdir(parents=True)
    assert failures([PLANNED], tmp_path) == [f"{CELL.name}: it waited for another cell"]
    for time, name in enumerate(["read.txt", "train.txt", "score.txt", "train.txt"], start=1):
        (directory / name).write_text(f"a line\nerror: {time}\n")
        os.utime(directory / name, (time, time))
        assert failures([PLANNED], tmp_path) == [f"{CELL.name}: error: {time}"]
