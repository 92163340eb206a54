"""Transformers trained without warmup: GradInit in one call for PyTorch, and as a fairseq plugin.

    report = gradinit_mt.gradinit(model, loss_fn, batches, optimizer)

fairseq reads this file through ``--user-dir gradinit_mt`` and finds the model, the task and the schedule registered.
"""

import sys

__version__ = "0.1.0"
__all__ = ["gradinit"]

# fairseq is always loaded before it reads a user-dir. Everything else does without it, and starts faster.
if "fairseq" in sys.modules:
    from gradinit_mt import lr_schedulers, models, tasks  # noqa: F401
    from gradinit_mt.plugin import compat

    compat.allow_torchrun_without_gpu()
    compat.resume_data_parallel_runs()
    compat.evaluate_plain_values_only()


def __getattr__(name: str):
    if name == "gradinit":  # imports torch, which the corpus tools do without
        from gradinit_mt.core import gradinit

        return gradinit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
