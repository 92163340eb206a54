"""What tells one run from another beside GradInit's own settings: the options of its model, and its sentences."""

import argparse
import hashlib
import json

from fairseq.data import FairseqDataset
from fairseq.models import ARCH_MODEL_REGISTRY
from omegaconf import OmegaConf


def model_options(cfg) -> dict:
    """The options of a model by name, as plain values for JSON.

    Args:
        cfg: what ``build_model`` of a task gets: a ``DictConfig`` of the model's dataclass, or, for a model without
            one, a namespace with all options of the run, of which only the model's own count.
    """
    if isinstance(cfg, argparse.Namespace):
        parser = argparse.ArgumentParser(add_help=False)
        ARCH_MODEL_REGISTRY[cfg.arch].add_args(parser)
        names = {"arch", *(action.dest for action in parser._actions)}
        options = {name: value for name, value in vars(cfg).items() if name in names}
    else:
        options = OmegaConf.to_container(cfg, resolve=True)
    return json.loads(json.dumps(options, default=str))


def data_checksum(dataset: FairseqDataset) -> str:
    """The first 16 digits of a SHA-256 over all sentence pairs, as the dataset serves them.

    Args:
        dataset: of pairs with a ``source`` and a ``target``, tensors of token numbers with a symbol at their end.
    """
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        pair = dataset[index]
        for side in ("source", "target"):
            digest.update(pair[side].numpy().tobytes())
    return digest.hexdigest()[:16]
