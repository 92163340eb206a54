"""This machine's processor: its name, for reports, its instruction sets and its cores."""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # where Linux describes each core


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The model that Linux names; elsewhere, and for a processor without a model's name, its architecture."""
    return _entry("model name", cpuinfo) or platform.machine()


def instruction_sets(cpuinfo: Path = CPUINFO) -> set[str]:
    """The extensions that Linux names, such as ``avx512f``; none elsewhere, or on a processor other than x86."""
    return set(_entry("flags", cpuinfo).split())


def _entry(name: str, cpuinfo: Path) -> str:
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def usable_cores() -> int:
    """How many cores this process may use: fewer than there are in a job of SLURM, or under ``taskset``."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
