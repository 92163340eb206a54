"""What a result states of its run besides its numbers: the device, the data, and the sizes of model and batch."""

import re
from pathlib import Path

import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.processor import processor_name
from gradinit_mt.corpora.layout import SPLITS, PreparedCorpus
from gradinit_mt.training import options
from gradinit_mt.training.save_dir import LOG, RUN, read_run

_PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+)")  # in fairseq's log


def device_name(device: str) -> str:
    """The name of the GPU that this process sees first, or of the processor.

    Args:
        device: ``gpu`` or ``cpu``.
    """
    return torch.cuda.get_device_name() if device == "gpu" else processor_name()


def facts(save_dir: Path) -> dict:
    """The corpus's checksums (of its subword text) and vocabularies, tokens per update, and the number of parameters.

    ``parameters`` is None if the run ended before fairseq logged it.

    Raises:
        UserError: the corpus that the run names is gone, or has changed its layout.
    """
    run = read_run(save_dir)
    if run is None:
        raise UserError(f"{save_dir}: holds no {RUN}; train the cell again")
    corpus = PreparedCorpus.load(Path(run["data"]))
    texts = [f"{split}.{lang}" for split in SPLITS for lang in corpus.languages]
    return {
        "data_sha256": {name: corpus.sha256[name] for name in texts if name in corpus.sha256},
        "vocabulary": corpus.dictionary,
        "tokens_per_update": tokens_per_update(run["options"]),
        "parameters": parameters(save_dir),
    }


def tokens_per_update(arguments: list[str]) -> int:
    """The most tokens that one update has on either side, padding included, with these arguments of fairseq-train."""
    given = options.given([*arguments, "--user-dir", options.USER_DIR])
    [update_freq] = given.get("update_freq", [1])
    return given["max_tokens"] * update_freq * given["distributed_world_size"]


def parameters(save_dir: Path) -> int | None:
    """The number of the model's parameters, shared ones counted once; None if the log does not say it."""
    log = save_dir / LOG
    found = _PARAMETERS.search(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else None
    return int(found[1].replace(",", "")) if found else None
