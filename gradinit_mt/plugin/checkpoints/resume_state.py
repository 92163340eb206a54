"""State that a resumed run needs to continue bit for bit, and fairseq's checkpoints leave out.

- In half precision, the optimizer's float32 copies of the parameters and all of the loss scaler but its scale. They
  are kept in the optimizer's state, to which ``--reset-optimizer`` and ``--no-save-optimizer-state`` apply.
- The count of validations without improvement (``--patience``), and of the batches that ``--amp`` has tried again.
  They are kept in the extra state.
"""

import functools
from typing import Any

import torch
from fairseq.optim import AMPOptimizer, FairseqOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler
from fairseq.trainer import Trainer

from gradinit_mt.plugin.half_precision import master_copies

NAME = "gradinit_mt"  # of both entries

_COUNTS = ("_iter", "_last_overflow_iter", "_last_rescale_iter", "_overflows_since_rescale")


def complete_checkpoints() -> None:
    """Adds this state to the checkpoints that fairseq writes from now on."""
    for kind in (FP16Optimizer, MemoryEfficientFP16Optimizer, AMPOptimizer):
        _complete(kind)
    stock = Trainer.state_dict

    @functools.wraps(stock)
    def state_dict(trainer: Trainer) -> dict:
        state = stock(trainer)
        state["extra_state"][NAME] = {
            "early_stopping": dict(early_stopping(trainer)),
            "amp_retries": getattr(trainer, "_amp_retries", 0),
        }
        return state

    Trainer.state_dict = state_dict


def note_early_stopping(trainer: Trainer, training: dict) -> None:
    """Tells the trainer where ``fairseq-train`` counts validations: in attributes of one of its functions.

    Args:
        training: the names of the module whose ``train`` runs.
    """
    if count := training.get("should_stop_early"):
        trainer.early_stopping = vars(count)


def restore(trainer: Trainer, extra_state: dict) -> None:
    """Restores the counts of a trainer that has loaded the rest of its checkpoint.

    That of the moving average (``--store-ema``) is not saved: it follows from the number of updates.

    Args:
        extra_state: of the checkpoint; without this entry if an earlier version wrote it.
    """
    saved = extra_state.get(NAME, {})
    early_stopping(trainer).update(saved.get("early_stopping", {}))
    if hasattr(trainer, "_amp_retries"):
        trainer._amp_retries = saved.get("amp_retries", 0)
    if trainer.cfg.ema.store_ema:
        trainer.ema.update_freq_counter = trainer.get_num_updates() % max(1, trainer.cfg.ema.ema_update_freq)


def early_stopping(trainer: Trainer) -> dict:
    """What ``fairseq-train`` keeps of ``--patience``: the best validation, and ``num_runs`` without a better one."""
    return getattr(trainer, "early_stopping", {})


def _complete(kind: type[FairseqOptimizer]) -> None:
    """Adds the float32 copies and the loss scaler to the state of this kind of optimizer."""
    stock, stock_load = kind.state_dict, kind.load_state_dict

    @functools.wraps(stock)
    def state_dict(self: FairseqOptimizer) -> dict:
        return {**stock(self), NAME: {"masters": master_copies(self), "scaler": _scaler_state(self.scaler)}}

    @functools.wraps(stock_load)
    def load_state_dict(self: FairseqOptimizer, state: dict, optimizer_overrides: dict | None = None) -> None:
        stock_load(self, state, optimizer_overrides)
        if NAME in state:
            _load(self, **state[NAME])

    kind.state_dict, kind.load_state_dict = state_dict, load_state_dict


def _scaler_state(scaler: Any) -> dict:
    if isinstance(scaler, DynamicLossScaler):
        return {name: getattr(scaler, name) for name in _COUNTS}
    return {} if scaler is None else scaler.state_dict()  # bf16 has none; --amp has PyTorch's


@torch.no_grad()
def _load(optimizer: FairseqOptimizer, masters: list[torch.Tensor], scaler: dict) -> None:
    for master, value in zip(master_copies(optimizer), masters, strict=True):
        master.copy_(value)
    if isinstance(optimizer.scaler, DynamicLossScaler):
        vars(optimizer.scaler).update({name: scaler[name] for name in _COUNTS})
    elif scaler:  # none without a GPU
        optimizer.scaler.load_state_dict(scaler)
