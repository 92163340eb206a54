"""bfloat16 by autocast, and the devices that compute it natively."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def at_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Surrounds one loss, without low-precision copies of the parameters left over from an earlier one.

    PyTorch drops such copies when the outermost autocast ends, but the parameters move in place before that.

    Args:
        precision: ``full`` or ``bfloat16``; an outer autocast has no effect.
        device: of the parameters.
    """
    torch.clear_autocast_cache()
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        torch.clear_autocast_cache()


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices natively; elsewhere it is emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities: dict = getattr(torch.cpu, "get_capabilities", dict)()  # absent from some PyTorch versions
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
