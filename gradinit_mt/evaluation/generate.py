"""Running the stock ``fairseq-generate`` as a process of its own, on a split of a prepared corpus."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from gradinit_mt.common.command import failure
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.evaluation import EvaluationError

PACKAGE = Path(__file__).resolve().parents[1]  # fairseq's --user-dir
OUTPUT, MESSAGES = "generate.txt", "generate.log"

# Options that this package sets itself, or that would change what the H- lines hold or which sentences they cover.
_RESERVED = (
    *("--path", "--gen-subset", "--source-lang", "-s", "--target-lang", "-t", "--task", "--user-dir"),
    *("--beam", "--lenpen", "--max-tokens", "--cpu", "--results-path", "--quiet", "--model-overrides"),
    *("--post-process", "--remove-bpe", "--bpe", "--tokenizer", "--num-shards", "--shard-id"),
    *("--max-source-positions", "--max-target-positions"),
    *("--required-batch-size-multiple", "--skip-invalid-size-inputs-valid-test"),
)


def check_further_options(options: list[str]) -> None:
    """Refuses options for ``fairseq-generate`` that belong to this package, however they are spelled.

    Raises:
        EvaluationError: names the option.
    """
    for option in options:
        if any(_spells(option.split("=")[0], reserved) for reserved in _RESERVED):
            raise EvaluationError(f"{option}: set by this command; leave it out after --")


def _spells(name: str, reserved: str) -> bool:
    """Whether an argument is this option, an abbreviation of it, or, of a short one, also its value (``-sde``)."""
    if name.startswith("--"):
        return name == reserved or (len(name) > 3 and reserved.startswith(name))
    return len(reserved) == 2 and name.startswith(reserved)


def nbest(options: list[str]) -> int:
    """How many hypotheses per sentence the further options ask for."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--nbest", type=int, default=1)
    return parser.parse_known_args(options)[0].nbest


def command_line(
    corpus: PreparedCorpus,
    split: str,
    checkpoint: Path,
    max_positions: tuple[int | None, int | None],
    beam: int,
    lenpen: float,
    max_tokens: int,
    cpu: bool,
    further: list[str],
) -> list[str]:
    """The arguments of ``fairseq-generate``, the interpreter first.

    Args:
        max_positions: the longest source and target that the model takes, ends included; None for fairseq's 1,024.

    Raises:
        EvaluationError: a path holds a ``:``, at which fairseq would split it; an option in ``further`` is reserved.
    """
    check_further_options(further)
    data, path = str(corpus.bin.resolve()), str(Path(checkpoint).resolve())
    for name in (data, path):
        if os.pathsep in name:
            raise EvaluationError(f"{name}: fairseq splits paths at {os.pathsep!r}; rename or link it")
    command = [sys.executable, "-m", "fairseq_cli.generate", data, "--user-dir", str(PACKAGE), "--task", "translation"]
    command += ["--source-lang", corpus.source, "--target-lang", corpus.target, "--gen-subset", split, "--path", path]
    command += ["--beam", str(beam), "--lenpen", str(lenpen), "--max-tokens", str(max_tokens)]
    for side, limit in zip(("source", "target"), max_positions, strict=True):
        command += [] if limit is None else [f"--max-{side}-positions", str(limit)]
    # fairseq's default of 8 leaves out the last batch, silently, where it is no multiple of 8
    command += ["--required-batch-size-multiple", "1"]
    return command + (["--cpu"] if cpu else []) + further


def run(command: list[str], directory: Path, sentences: int) -> list[str]:
    """Runs ``fairseq-generate`` with a progress bar; its output and messages are kept in ``directory``.

    Args:
        command: see ``command_line``.
        directory: receives ``generate.txt`` (standard output) and ``generate.log`` (the messages).
        sentences: how many it will translate, for the bar.

    Returns:
        The lines of its standard output.

    Raises:
        EvaluationError: it fails (with the end of what it said).
    """
    lines: list[str] = []
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    with (
        (directory / MESSAGES).open("wb") as messages,
        (directory / OUTPUT).open("wb") as output,
        tqdm(total=sentences, desc="translating", unit=" sentences", disable=None, mininterval=0.5) as bar,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, env=environment) as process,
    ):
        try:
            for line in process.stdout:
                output.write(line)
                lines.append(line.decode("utf-8").rstrip("\n"))
                bar.update(line.startswith(b"S-"))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        said = (directory / MESSAGES).read_text(encoding="utf-8", errors="replace").splitlines()
        raise EvaluationError(failure("fairseq-generate", process.returncode, said))
    return lines
