"""What a result states of its run besides its numbers: the data, the sizes of model and batch, and the precision."""

import re
from pathlib import Path

from comparison.data import checksums
from gradinit_mt.common import log_lines
from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.training import options
from gradinit_mt.training.log import LOG
from gradinit_mt.training.save_dir import RUN, read_run

_PRECISION = re.compile(re.escape(log_lines.PRECISION.format("training")) + r"(\w+)")
_PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+)")  # in fairseq's log


def facts(save_dir: Path) -> dict:
    """The corpus's checksums (of its subword text) and vocabularies, tokens per update, parameters, and precision.

    ``parameters`` (their number) and ``precision`` (of training) are None if the run ended before they were logged.

    Raises:
        UserError: the corpus that the run names is gone, or has changed its layout.
    """
    run = read_run(save_dir)
    if run is None:
        raise UserError(f"{save_dir}: holds no {RUN}; train the cell again")
    corpus = PreparedCorpus.load(Path(run["data"]))
    count = logged(_PARAMETERS, save_dir)
    return {
        "data_sha256": checksums(corpus),
        "vocabulary": corpus.dictionary,
        "tokens_per_update": tokens_per_update(run["options"]),
        "parameters": count and int(count.replace(",", "")),
        "precision": logged(_PRECISION, save_dir),
    }


def tokens_per_update(arguments: list[str]) -> int:
    """The most tokens that one update has on either side, padding included, with these arguments of fairseq-train."""
    given = options.given([*arguments, "--user-dir", options.USER_DIR])
    [update_freq] = given.get("update_freq", [1])
    return given["max_tokens"] * update_freq * given["distributed_world_size"]


def logged(pattern: re.Pattern, save_dir: Path) -> str | None:
    """The first group of the pattern where the log first matches; None if it does not."""
    log = save_dir / LOG
    found = pattern.search(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else None
    return found[1] if found else None
