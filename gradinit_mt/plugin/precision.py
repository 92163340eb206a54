"""The precision of training, validation and translation: bfloat16 by autocast where that is faster, else float32."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from gradinit_mt.common import log_lines
from gradinit_mt.core import GradInitError
from gradinit_mt.core.precision import at_precision, has_native_bfloat16
from gradinit_mt.models.post_ln_transformer import PostLNTransformer
from gradinit_mt.models.wrappers import unwrapped
from gradinit_mt.plugin.options import GradInitTranslationConfig

logger = logging.getLogger(__name__)


def working_precision(cfg: GradInitTranslationConfig, model: nn.Module) -> str:
    """``bfloat16`` or ``float32``, as ``--precision`` asks; or fairseq's own mode (``fp16``, ``bf16``, ``amp``).

    ``auto`` is bfloat16 for this package's models where the device multiplies it natively. fairseq's own models stay in
    float32: their attention in bfloat16 is slow on most CPUs.

    Raises:
        GradInitError: bfloat16 is requested together with one of fairseq's own modes.
    """
    casts = [name for name in ("fp16", "bf16", "amp") if getattr(cfg, name)]
    if cfg.precision == "bfloat16" and casts:
        raise GradInitError(f"--precision bfloat16 and --{casts[0]} exclude each other: drop one of them")
    if casts or cfg.precision != "auto":
        return casts[0] if casts else str(cfg.precision)
    native = has_native_bfloat16(next(model.parameters()).device)
    return "bfloat16" if native and isinstance(unwrapped(model), PostLNTransformer) else "float32"


@contextmanager
def in_working_precision(cfg: GradInitTranslationConfig, model: nn.Module, use: str) -> Iterator[None]:
    """Surrounds a forward pass, whose products are computed in the working precision; parameters stay as they are.

    The first time, the precision is logged.

    Args:
        use: ``training`` or ``translation``, for the log.
    """
    precision = working_precision(cfg, model)
    _log_once(f"{log_lines.PRECISION.format(use)}{precision}")
    if precision != "bfloat16":  # leaves fairseq's own autocast as it is
        yield
    else:
        with at_precision(precision, next(model.parameters()).device):
            yield


@functools.cache
def _log_once(message: str) -> None:
    logger.info(message)
