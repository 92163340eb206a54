"""Shared by the benchmarks: devices, time, memory, results, batches, and random pairs of sentences."""

import argparse
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from fairseq.data import Dictionary, LanguagePairDataset, data_utils
from tqdm import tqdm

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import make_directory, require_new, write_json, write_text
from gradinit_mt.common.processor import processor_name
from gradinit_mt.training.launch import KEEP_MEMORY

STOCK, FLOAT32, BFLOAT16 = "stock", "ours, float32", "ours, bfloat16"  # the contenders that all comparisons have
TYPES = {"source": 8848, "target": 6632}  # dictionary sizes of the reference preparation of IWSLT'14 De-En


def run_alone(main: Callable[[], None]) -> None:
    """Runs a benchmark without fairseq's messages, with the memory settings that training is launched with."""
    if "GLIBC_TUNABLES" not in os.environ:  # read when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GLIBC_TUNABLES": KEEP_MEMORY})
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")  # of fairseq and hydra
    command.run(main)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds ``--device``, by default the GPU if there is one."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", type=_device, default=default, help="cpu or cuda (default: %(default)s)")


def _device(text: str) -> torch.device:
    if text not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{text}: expected cpu or cuda (CUDA_VISIBLE_DEVICES chooses the GPU)")
    if text == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("cuda: PyTorch finds no GPU here; use cpu")
    return torch.device(text)


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


def members_by_length(dataset: LanguagePairDataset, tokens: int) -> list[list[int]]:
    """The sentences of each batch: similar lengths, the shortest first, without those longer than ``tokens``.

    Raises:
        UserError: all are longer.
    """
    with data_utils.numpy_seed(1):
        indices, _ = dataset.filter_indices_by_size(dataset.ordered_indices(), tokens)
    if not len(indices):
        raise UserError(f"batches of {tokens} tokens: every sentence is longer; choose more tokens")
    return dataset.batch_by_size(indices, max_tokens=tokens)


def batches_by_length(dataset: LanguagePairDataset, tokens: int, count: int | None = None) -> list[dict]:
    """Batches of similar lengths, evenly spaced in length (all without ``count``), the largest first.

    Raises:
        UserError: every sentence is longer than ``tokens``.
    """
    members = members_by_length(dataset, tokens)
    if count is not None:
        members = [members[(2 * i + 1) * len(members) // (2 * count)] for i in range(min(count, len(members)))]
    batches = [dataset.collater([dataset[i] for i in batch]) for batch in members]
    return sorted(batches, key=lambda batch: -batch["net_input"]["src_tokens"].numel() - batch["target"].numel())


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


def interleaved(work: Mapping[str, Sequence[Callable]], rounds: int, warmup: int, device: torch.device) -> dict:
    """Seconds of each contender in every round after the warm-up, summed over its pieces of work.

    The contenders take turns at every piece, in an order that is reversed from one round to the next.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    with tqdm(total=(rounds + warmup) * len(work), desc="times", disable=None) as bar:
        for number in range(-warmup, rounds):
            names = list(work)[:: -1 if number % 2 else 1]
            elapsed = dict.fromkeys(names, 0.0)
            for pieces in zip(*(work[name] for name in names), strict=True):
                for name, piece in zip(names, pieces, strict=True):
                    elapsed[name] += seconds(piece, device)
            for name in names if number >= 0 else ():
                times[name].append(elapsed[name])
            bar.update(len(work))
    return times


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times as fast: the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(times[slow], times[fast], strict=True))


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


def printed_number(script: str, arguments: list[str]) -> float | None:
    """The last word that a Python script prints in a separate process, as a number; None if the process fails."""
    done = subprocess.run([sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"{' '.join([script, *arguments])} ended with status {done.returncode}: no figure", file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def memory_columns(peak: float | None, baseline: float | None, width: int) -> str:
    """GiB in 7 characters and their share of the baseline's in ``width``, where both are there."""
    gib = "failed" if peak is None else f"{peak:.2f}"
    share = "" if peak is None or baseline is None else f"{peak / baseline:.2f}"
    return f"{gib:>7}{share:>{width}}"


def describe_machine(device: torch.device) -> str:
    """The device, and the threads used if it is a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.get_num_threads()} threads"


def require_room(directory: Path | None, names: Sequence[str]) -> None:
    """Makes the directory of the results, before they are measured; without one, nothing is written.

    Raises:
        UserError: it cannot be made, or has one of the results.
    """
    if directory is not None:
        for name in names:
            for path in _files(directory, name):
                require_new(path)
        make_directory(directory)


def report(facts: dict, text: str, directory: Path | None, name: str) -> None:
    """Prints the text; with a directory, also writes NAME.json and NAME.txt there."""
    print(text, end="", flush=True)
    if directory is not None:
        as_json, as_text = _files(directory, name)
        write_json(as_json, facts)
        write_text(as_text, text)


def _files(directory: Path, name: str) -> tuple[Path, Path]:
    return directory / f"{name}.json", directory / f"{name}.txt"
