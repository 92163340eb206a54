"""What share of the machine's matrix rate a training step reaches, and where the rest of its time goes."""

import statistics
from collections.abc import Callable
from functools import partial

import torch
from measuring import seconds
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


def matrix_rates(rows: int, width: int, widths: list[int], device: torch.device) -> dict[str, dict[int, float]]:
    """FLOP/s of products [rows, width] x [width, n] for each n, by precision; medians of 9 timings.

    The result's memory is used before. (First touch is slow, and would be counted as part of the product.)
    """
    rates: dict[str, dict[int, float]] = {}
    for kind in (torch.float32, torch.bfloat16):
        measured = rates[str(kind).removeprefix("torch.")] = {}
        for n in widths:
            a, b, out = (
                torch.ones(shape, dtype=kind, device=device) for shape in ((rows, width), (width, n), (rows, n))
            )
            times = [seconds(partial(torch.mm, a, b, out=out), device) for _ in range(12)]
            measured[n] = 2 * rows * width * n / statistics.median(times[3:])
    return rates


def profiled(work: Callable[[], object], device: torch.device) -> dict:
    """Where the time of ``work`` goes.

    Returns:
        ``flops`` of its matrix products, ``seconds`` in them, and the share of the whole time by operation. Times are
        those of the operations themselves, without what they call.
    """
    work()
    with FlopCounterMode(display=False) as counter:
        work()
    counts = counter.get_flop_counts().get("Global", {})
    flops = sum(count for operation, count in counts.items() if operation.__name__.partition(".")[0] in PRODUCTS)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities) as profiler:
        work()
    times = {
        event.key.removeprefix("aten::"): (
            event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        )
        / 1e6
        for event in profiler.key_averages()
        if event.device_type == torch.autograd.DeviceType.CPU  # kernels are counted with the operation that starts them
    }
    whole = sum(times.values())
    shares = {name: time / whole for name, time in sorted(times.items(), key=lambda item: -item[1]) if time}
    return {"flops": flops, "seconds": sum(times.get(name, 0.0) for name in PRODUCTS), "shares": shares}


def roofline(measured: dict, rates: dict[str, dict[int, float]], precision: str, updates: int) -> str:
    """One contender's line: the share of the highest measured rate during products, and the eight largest of the rest.

    It says so if the profiler has seen no products, as in a captured step.

    Args:
        measured: the profile of some updates, see ``profiled``.
        rates: see ``matrix_rates``.
        precision: the one whose rate is compared with.
        updates: how many were profiled.
    """
    if not (measured["flops"] and measured["seconds"]):
        return "the profiler saw no products"
    best, reached = max(rates[precision].values()), measured["flops"] / measured["seconds"]
    products = sum(measured["shares"].get(name, 0.0) for name in PRODUCTS)
    rest = [(name, share) for name, share in measured["shares"].items() if name not in PRODUCTS][:8]
    return (
        f"{measured['flops'] / updates / 1e9:.1f} GFLOP an update in products, {products:.0%} of the time, "
        f"at {reached / 1e9:.0f} GFLOP/s: "
        f"{reached / best:.0%} of the measured {precision} rate; the rest: "
        + ", ".join(f"{name} {share:.1%}" for name, share in rest)
    )
