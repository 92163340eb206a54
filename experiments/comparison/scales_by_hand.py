"""Scales set by hand, as the record from which ``--gradinit-from`` takes them."""

from pathlib import Path

import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig

from comparison.cells import PRESET, Cell
from comparison.settings import Scales
from gradinit_mt.common.errors import UserError
from gradinit_mt.core import State
from gradinit_mt.core.blocks import block_facts
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.record.record import Record
from gradinit_mt.training.options import compose


def scales_by_hand(rule: Scales, names: list[str]) -> torch.Tensor:
    """The scales of the tensors called ``names``: 1 where no key of the rule matches the end of the name.

    Raises:
        UserError: a key matches no name.
    """
    scales = torch.ones(len(names), dtype=torch.float64)
    for ends, scale in rule.items():
        scaled = [index for index, name in enumerate(names) if name.endswith(ends)]
        if not scaled:
            raise UserError(
                f"the rule scales {ends}, but no tensor's name ends with it: use a model of 6+6 layers, whose encoder "
                "does not share the decoder's embedding (--share-all-embeddings)"
            )
        scales[scaled] = scale
    return scales


def fairseq_config(cell: Cell, corpus: PreparedCorpus, save_dir: Path) -> DictConfig:
    """The configuration that fairseq-train makes from the cell's options."""
    arguments = compose(PRESET, corpus, save_dir, cell.seed, cell.options())
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))


def write_record(cell: Cell, corpus: PreparedCorpus, directory: Path) -> None:
    """Writes the record of the cell's rule into ``directory``, for the cell's model.

    Raises:
        UserError: the model lacks a tensor that the rule scales.
        ValueError: the cell's setting has no such rule.
    """
    if cell.row.by_hand is None:
        raise ValueError(f"{cell.setting} has no scales set by hand")
    cfg = fairseq_config(cell, corpus, directory)
    blocks = block_facts(tasks.setup_task(cfg.task).build_model(cfg.model))
    state = State.fresh(len(blocks))
    state.scales = scales_by_hand(cell.row.by_hand, [block["name"] for block in blocks])
    Record({"iterations": 0, "rule": cell.row.about}, blocks, "", state).save(directory)
