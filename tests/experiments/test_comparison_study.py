"""The comparison study from its command line: a narrow model, a tiny corpus and a few updates, in the real engine."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

pytestmark = [
    pytest.mark.timeout(900),  # of which the file takes three minutes on idle cores
    pytest.mark.skipif(
        not (Path(__file__).resolve().parents[2] / ".venv-study").exists(),
        reason="needs the workflow engine: run make study",
    ),
]


@pytest.fixture(scope="module")
def command(root, toy_corpus):
    """The command line of the study with this configuration and output."""

    def line(config, output, *further):
        study = root / "experiments/comparison/study.py"
        return list(map(str, [sys.executable, study, toy_corpus, "--config", config, "--output", output, *further]))

    return line


@pytest.fixture(scope="module")
def study(root, command, tmp_path_factory):
    """The block of the smoke configuration that is scored, in three starts: one is terminated, in one a cell fails."""
    output = tmp_path_factory.mktemp("a study")
    smoke = root / "experiments/comparison/smoke.yaml"
    [blocked] = [cell for cell in cells(smoke) if "warmup-200" in cell]
    notes = output / "cells" / blocked / "save" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("someone else's")
    line = command(smoke, output, *SCORED)
    starts = [terminated(line, output)]
    for _ in range(2):
        starts.append(subprocess.run(line, capture_output=True, text=True))
        made = output.glob("cells/*/*/reading.json")
        starts[-1].stamps = {path.parent.name: path.stat().st_mtime_ns for path in made}
        notes.unlink(missing_ok=True)
    return output, blocked, starts


def terminated(line, output):
    """Terminates a study when a cell has saved its first checkpoint; what was found then, and what was left after."""
    # SIGINT is ignored, as in a job that a shell started in the background
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(line, **quiet, preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN)) as process:
        while not list(output.rglob("checkpoint_last.pt")) and process.poll() is None:
            time.sleep(0.02)
        training = processes_with("fairseq_cli.train", str(output))
        process.terminate()
    left = processes_with(str(output)) + list(output.rglob("reading.json"))
    return SimpleNamespace(status=process.returncode, training=training, left=left)


SCORED = ("--blocks", "bleu")
SPLITS = ("train", "valid", "test")
# 4 d^2 + 4 d per attention, 2 d f + f + d per feed-forward block, 2 d per LayerNorm; encoder and decoder of 6 layers
IN_LAYERS = 6 * (3 * (4 * 16**2 + 4 * 16) + 2 * (2 * 16 * 32 + 32 + 16) + 5 * 2 * 16)


def cells(path):
    from comparison.plan import plan

    config = yaml.safe_load(path.read_text(encoding="utf-8")) | {"corpora": {"toy": ""}}
    return [planned.cell.name for planned in plan(config, [])]


def readings(output):
    return {path.parent.name: json.loads(path.read_text()) for path in output.glob("cells/*/*/reading.json")}


def test_a_terminated_study_leaves_no_training_running_and_continues(study):
    output, _, (first, *_) = study
    assert first.training
    assert first.status == 128 + signal.SIGTERM
    assert not first.left
    [log] = [path.read_text() for path in output.glob("cells/toy/warmup-100*/save/train.log")]
    assert "Loaded checkpoint" in log


def test_a_failed_cell_leaves_the_others_alone_and_is_reported(study):
    _, blocked, (_, second, _) = study
    assert second.returncode == 2
    assert "error: 2 of 3 cells failed:\n" in second.stderr, "one of them waits for the other"
    assert f"\n{blocked}: error: " in second.stderr
    assert "is not empty and holds no run.json" in second.stderr
    assert [name.startswith("warmup-100") for name in second.stamps] == [True]


def test_the_next_start_does_only_what_is_left(study):
    _, blocked, (_, second, third) = study
    assert third.returncode == 0, third.stderr[-2000:]
    assert Path(blocked).name in third.stamps.keys() - second.stamps.keys()
    assert len(third.stamps) == 3
    assert second.stamps.items() <= third.stamps.items()


def test_known_readings_are_not_trained_again(study, command, root, tmp_path):
    output, *_ = study
    smoke, known = root / "experiments/comparison/smoke.yaml", output / "report" / "readings.jsonl"
    done = subprocess.run(command(smoke, tmp_path / "new", *SCORED, "--known", known), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "3 of 3 cells done" in done.stderr
    assert not (tmp_path / "new" / "config.json").exists(), "there is nothing for the engine"
    assert readings(tmp_path / "new") == readings(output)


def test_readings_have_what_the_report_needs_and_checkpoints_are_gone(study):
    output, *_ = study
    for reading in readings(output).values():
        assert list(reading["training"]) == [str(update) for update in range(1, reading["updates"] + 1)]
        assert reading["validation"][str(reading["updates"])] > 0
        assert reading["end"] == "complete"
        assert reading["seconds"] > 0
        assert reading["device"]
        assert reading["parameters"] == 16 * sum(reading["vocabulary"].values()) + IN_LAYERS
        assert reading["tokens_per_update"] == 2048
        assert reading["data_sha256"].keys() == {f"{split}.{lang}" for split in SPLITS for lang in ("de", "en")}
    gains = [reading["source_gain"] for reading in readings(output).values()]
    assert any(gains), "they are measured"
    assert gains == pytest.approx([0] * len(gains), abs=0.1), "a few updates teach nothing about the source"
    assert not list(output.rglob("*.pt"))
    assert str(output) not in (output / "report" / "readings.jsonl").read_text()


def test_the_report_has_every_run(study):
    output, *_ = study
    lines = (output / "report" / "readings.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines if json.loads(line) not in readings(output).values()] == []
    assert len(lines) == 3
    assert (output / "report" / "report.html").stat().st_size > 10_000


def test_only_the_block_with_bleu_is_scored(study):
    output, *_ = study
    [scored] = [reading for reading in readings(output).values() if "scores" in reading]
    assert scored["setting"] == "warmup-tuned"
    assert {(c, s) for c, splits in scored["scores"].items() for s in splits} == {
        (checkpoint, split) for checkpoint in ("best", "last") for split in ("valid", "test")
    }


def test_the_warmup_is_the_one_with_the_lowest_validation_loss(study):
    found = readings(study[0]).values()
    losses = {r["setting"].removeprefix("warmup-"): r["validation"]["60"] for r in found if r["seed"] == 101}
    assert set(losses) == {"100", "200"}
    [tuned] = [reading for reading in found if reading["setting"] == "warmup-tuned"]
    assert tuned["chosen"] == ["--warmup-updates", min(losses, key=lambda length: (losses[length], int(length)))]


def test_a_known_tuned_cell_is_not_trained_again_when_a_length_of_its_warmup_is_new(study, root, command, tmp_path):
    known = tmp_path / "known.jsonl"
    missing = "warmup-200"
    kept = [reading for reading in readings(study[0]).values() if reading["setting"] != missing]
    known.write_text("".join(json.dumps(reading) + "\n" for reading in kept))
    smoke = root / "experiments/comparison/smoke.yaml"
    line = command(smoke, tmp_path / "output", *SCORED, "--known", known, "--", "--dry-run")
    planned = subprocess.run(line, capture_output=True, text=True)
    counts = dict(row.split() for row in planned.stdout.splitlines() if len(row.split()) == 2)
    assert (counts["train"], counts["read"], counts["total"]) == ("1", "1", "3"), planned.stdout
    assert "warmup" not in counts


def processes_with(*texts):
    """The running processes with these texts in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes()
            if all(text.encode() in line for text in texts):
                found.append(path.parent.name)
    return found
