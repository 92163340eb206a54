"""Transformers trained without warmup: GradInit in one call for PyTorch, and as a fairseq plugin.

    report = gradinit_mt.gradinit(model, loss_fn, batches, optimizer)

fairseq imports this file for ``--user-dir gradinit_mt``. That registers the models, criterion, optimizers, schedule and
task, and mends fairseq where training needs it (``gradinit_mt.plugin``).
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradinit_mt.core import gradinit

__version__ = "0.1.0"
__all__ = ["gradinit", "register_with_fairseq"]

_registered = False


def register_with_fairseq() -> None:
    """Registers the models, criterion, optimizers, schedule and task with fairseq, and mends it; once per process.

    Importing this package does so if fairseq has been imported before it.
    """
    global _registered
    if _registered:
        return
    _registered = True
    from gradinit_mt import criterions, lr_schedulers, models, optim, tasks  # noqa: F401
    from gradinit_mt.plugin import compat, interruption
    from gradinit_mt.plugin.checkpoints import resume_state, resuming, saving, untrusted

    compat.allow_torchrun_without_gpu()
    compat.wrap_models_on_a_cpu()
    compat.resume_data_parallel_runs()
    compat.count_every_batch()
    untrusted.evaluate_plain_values_only()
    untrusted.refuse_harmful_checkpoints()
    resuming.resume_exactly()
    resume_state.complete_checkpoints()
    saving.save_whole_files()
    interruption.remember_saves()
    interruption.end_with_torchrun()


# fairseq is always loaded before it imports a user-dir; everything else starts faster without it.
if "fairseq" in sys.modules:
    register_with_fairseq()


def __getattr__(name: str) -> object:
    if name == "gradinit":  # imports torch, which the corpus tools do not need
        from gradinit_mt.core import gradinit

        return gradinit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
