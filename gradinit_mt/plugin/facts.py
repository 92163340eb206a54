"""Facts that tell one run from another, besides GradInit's own settings: the model's options and the sentences."""

import argparse
import hashlib
import json

import numpy as np
from fairseq.data import LanguagePairDataset
from fairseq.models import ARCH_MODEL_REGISTRY
from omegaconf import DictConfig, OmegaConf


def model_options(cfg: DictConfig | argparse.Namespace) -> dict:
    """The options of a model by name, as plain values for JSON.

    Args:
        cfg: what ``build_model`` of a task receives: a ``DictConfig`` of the model's dataclass or, for a model without
            one, a namespace with all options of the run. Only the model's own options are returned.
    """
    if isinstance(cfg, argparse.Namespace):
        parser = argparse.ArgumentParser(add_help=False)
        ARCH_MODEL_REGISTRY[cfg.arch].add_args(parser)
        names = {"arch", *(action.dest for action in parser._actions)}
        options: object = {name: value for name, value in vars(cfg).items() if name in names}
    else:
        options = OmegaConf.to_container(cfg, resolve=True)
    return json.loads(json.dumps(options, default=str))


def data_checksum(dataset: LanguagePairDataset) -> str:
    """The first 16 digits of a SHA-256 over the lengths and the tokens of all sources and targets."""
    digest = hashlib.sha256()
    for side in (dataset.src, dataset.tgt):
        digest.update(np.ascontiguousarray(side.sizes).tobytes())
        tokens = getattr(side, "_bin_buffer", None)
        if tokens is not None:  # fairseq's memory-mapped format: a hundred times faster than sentence by sentence
            digest.update(tokens)
        else:
            for index in range(len(side)):
                digest.update(side[index].numpy().tobytes())
    return digest.hexdigest()[:16]
