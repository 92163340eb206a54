"""Post-LN Transformers trained without warmup: GradInit as a fairseq plugin.

fairseq reads this file through ``--user-dir gradinit_mt`` and finds the model, the task and the schedule registered.
"""

import sys

__version__ = "0.1.0"

# fairseq is always loaded before it reads a user-dir. The core and the corpus tools do without it, and start faster.
if "fairseq" in sys.modules:
    from . import compat, lr_schedulers, models, tasks  # noqa: F401

    compat.allow_torchrun_without_gpu()
    compat.resume_data_parallel_runs()
    compat.evaluate_plain_values_only()
