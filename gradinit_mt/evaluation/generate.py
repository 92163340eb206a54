"""Runs the stock ``fairseq-generate`` as a separate process on a split of a prepared corpus."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from gradinit_mt.common import log_lines
from gradinit_mt.common.command import failure
from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.names import require_plain_path
from gradinit_mt.training.checkpoints import CheckpointFacts
from gradinit_mt.training.options import USER_DIR

OUTPUT, MESSAGES = "generate.txt", "generate.log"
BATCH_TOKENS = 8000  # subwords of a batch on its longer side, with padding

# Options that this package sets, or that would change what the H- lines contain or which sentences they cover.
_RESERVED = (
    *("--path", "--gen-subset", "--source-lang", "-s", "--target-lang", "-t", "--task", "--user-dir"),
    *("--beam", "--lenpen", "--max-tokens", "--cpu", "--results-path", "--quiet", "--model-overrides"),
    *("--post-process", "--remove-bpe", "--bpe", "--tokenizer", "--num-shards", "--shard-id"),
    *("--max-source-positions", "--max-target-positions"),
    *("--required-batch-size-multiple", "--skip-invalid-size-inputs-valid-test"),
    *("--checkpoint-suffix", "--checkpoint-shard-count"),  # which make fairseq read other files than --path
)
# With these, all or the beginning of a hypothesis is the reference.
_REFERENCE = ("--score-reference", "--prefix-size")


def _spells(name: str, reserved: str) -> bool:
    """Whether an argument is this option, its abbreviation, or a short option joined to its value (``-sde``)."""
    if name.startswith("--"):
        return name == reserved or (len(name) > 3 and reserved.startswith(name))
    return len(reserved) == 2 and name.startswith(reserved)


def nbest(options: list[str]) -> int:
    """How many hypotheses per sentence the options for ``fairseq-generate`` request."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--nbest", type=int, default=1)
    return parser.parse_known_args(options)[0].nbest


def command_line(
    corpus: PreparedCorpus, facts: CheckpointFacts, options: argparse.Namespace, max_tokens: int
) -> list[str]:
    """The command line of ``fairseq-generate``, starting with the interpreter, for the options of ``evaluation.run``.

    Args:
        corpus: to translate a split of.
        facts: of the checkpoint.
        options: those of the command.
        max_tokens: subwords of a batch on its longer side, with padding.

    Raises:
        UserError: a path is not plain; or the further options include one that this package sets, or that puts the
            reference into the hypotheses, in any spelling.
    """
    for option in options.further:
        name = option.split("=")[0]
        if any(_spells(name, reserved) for reserved in _RESERVED):
            raise UserError(f"{option}: set by this command; leave it out after --")
        if any(_spells(name, reserved) for reserved in _REFERENCE):
            raise UserError(f"{option}: would score the reference against itself; use fairseq-generate for it")
    for path in (corpus.bin, Path(facts.file)):
        require_plain_path(path)
    command = [sys.executable, "-m", "fairseq_cli.generate", str(corpus.bin.resolve())]
    command += ["--user-dir", USER_DIR]
    command += ["--task", "gradinit_translation", "--no-gradinit"]
    command += ["--source-lang", corpus.source, "--target-lang", corpus.target]
    command += ["--gen-subset", options.split, "--path", facts.file]
    command += ["--beam", str(options.beam), "--lenpen", str(options.lenpen), "--max-tokens", str(max_tokens)]
    for side, limit in (("source", facts.max_source_positions), ("target", facts.max_target_positions)):
        command += [] if limit is None else [f"--max-{side}-positions", str(limit)]
    # with its default of 8, fairseq silently drops a last batch whose size is not a multiple of 8
    command += ["--required-batch-size-multiple", "1"]
    return command + ["--cpu"] * options.cpu + options.further


def precision(directory: Path) -> str:
    """The precision of a finished ``run``, as it was logged."""
    messages = (directory / MESSAGES).read_text(encoding="utf-8", errors="replace")
    return messages.partition(log_lines.PRECISION.format("translation"))[2].split()[0]


def run(command: list[str], directory: Path, sentences: int) -> list[str]:
    """Runs ``fairseq-generate`` with a progress bar over this number of sentences.

    Its standard output and messages are kept in ``directory``, as ``generate.txt`` and ``generate.log``.

    Returns:
        The lines of its standard output.

    Raises:
        UserError: it failed; the message ends with the last lines it printed.
    """
    lines: list[str] = []
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    with (
        (directory / MESSAGES).open("wb") as messages,
        (directory / OUTPUT).open("wb") as output,
        tqdm(total=sentences, desc="translating", unit=" sentences", disable=None, mininterval=0.5) as bar,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, env=environment) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output.write(line)
                lines.append(line.decode("utf-8").rstrip("\n"))
                bar.update(line.startswith(b"S-"))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        printed = (directory / MESSAGES).read_text(encoding="utf-8", errors="replace").splitlines()
        raise UserError(failure("fairseq-generate", process.returncode, printed))
    return lines
