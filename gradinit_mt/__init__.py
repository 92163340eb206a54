"""Post-LN Transformers trained without warmup: GradInit as a fairseq plugin.

``fairseq-train --user-dir gradinit_mt`` reads this file, which registers the model, the task and the schedule.
``gradinit_mt.core`` works without fairseq, on any ``nn.Module``.
"""

from importlib.util import find_spec

__version__ = "0.1.0"

if find_spec("fairseq") is not None:
    from . import compat, lr_schedulers, models, tasks  # noqa: F401
