"""Shared by the benchmarks: time, memory, the machine's name, and random pairs of sentences."""

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from fairseq.data import Dictionary, LanguagePairDataset

TYPES = {"source": 8848, "target": 6632}  # dictionary sizes of the reference preparation of IWSLT'14 De-En


def random_pairs(sentences: int, seed: int = 1) -> LanguagePairDataset:
    """Sentences of random symbols; both sides of a pair have the same length, log-normal with a median of 20."""
    generator = torch.Generator().manual_seed(seed)
    dictionaries = {}
    for side, types in TYPES.items():
        dictionaries[side] = Dictionary()
        for number in range(types - len(dictionaries[side])):
            dictionaries[side].add_symbol(f"s{number}")
    lengths = (3 + 0.65 * torch.randn(sentences, generator=generator)).exp().clamp(2, 170).int()
    texts = {
        side: [torch.randint(4, types, (int(length),), generator=generator) for length in lengths]
        for side, types in TYPES.items()
    }
    for side in TYPES:
        texts[side] = [torch.cat([text, torch.tensor([dictionaries[side].eos()])]) for text in texts[side]]
    sizes = [len(text) for text in texts["source"]]
    return LanguagePairDataset(
        texts["source"], sizes, dictionaries["source"], texts["target"], sizes, dictionaries["target"], shuffle=False
    )


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of ``work``, until the device has finished."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_gib(work: Callable[[], object], device: torch.device) -> float:
    """Peak memory of ``work`` above the memory in use before, in GiB."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**30
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of the process
    before = resident("VmRSS")
    work()
    return (resident("VmHWM") - before) / 2**30


def resident(field: str) -> int:
    """Resident bytes of this process: now (``VmRSS``) or at the peak (``VmHWM``)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition(f"{field}:")[2].split()[0])


def printed_number(script: str, arguments: list[str]) -> float:
    """The last word that a Python script prints in a separate process, as a number."""
    done = subprocess.run([sys.executable, script, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def describe_machine(device: torch.device) -> str:
    """The device, and the threads used if it is a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
