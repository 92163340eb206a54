"""Averages the parameters of several checkpoints, for translation (Vaswani et al. 2017, section 6.1).

    python -m gradinit_mt.evaluation.average SAVE_DIR --last 5
    python -m gradinit_mt.evaluation.average --files A.pt B.pt --output AVERAGE.pt

The result equals that of fairseq's example script ``average_checkpoints.py``, which its package does not install, and
which cannot load checkpoints with current PyTorch.
"""

import argparse
import os
from pathlib import Path

import torch
from torch import Tensor

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import atomic_write, sha256
from gradinit_mt.training import checkpoints


def average_parameters(models: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each parameter over several state dicts, computed in float64.

    Returns:
        Floating-point entries in float32 (float64 where they were), other entries unchanged. Names that share a tensor,
        such as tied embeddings, share its mean.

    Raises:
        UserError: the state dicts differ in names or shapes, or in an entry that has no mean (integers).
    """
    first = models[0]
    for model in models[1:]:
        if model.keys() != first.keys():
            wrong = ", ".join(sorted(model.keys() ^ first.keys())[:5])
            raise UserError(f"the checkpoints hold different parameters ({wrong}); are they from one run?")
    means: dict[tuple, Tensor] = {}
    found = {}
    for name in first:
        tensors = [model[name] for model in models]
        place = tuple((tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)
        if place not in means:
            means[place] = _mean(name, tensors)
        found[name] = means[place]
    return found


def _mean(name: str, tensors: list[Tensor]) -> Tensor:
    first = tensors[0]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(set(shapes)) > 1:
        raise UserError(f"{name} has different shapes {shapes}; are the checkpoints from one run?")
    if first.is_floating_point():
        total = torch.zeros_like(first, dtype=torch.float64)
        for tensor in tensors:
            total += tensor
        # half precision would round the mean away
        return (total / len(tensors)).to(torch.promote_types(first.dtype, torch.float32))
    if not all(torch.equal(tensor, first) for tensor in tensors):
        raise UserError(f"{name} ({first.dtype}) differs between the checkpoints and has no mean")
    return first


def average_checkpoint(paths: list[Path], output: Path) -> Path:
    """Writes a checkpoint with the mean parameters of ``paths``, and with the settings of the last one.

    The result is for translation: it holds no optimizer state. Its "averaged_from" lists the inputs and their
    checksums. An ``output`` that exists and lists exactly these inputs is left unchanged. Several processes may make
    the same average at once.

    Raises:
        UserError: there are fewer than two inputs, or the same one twice; the inputs do not match; or ``output``
            exists and is something else, or cannot be written.
    """
    for path in paths:
        checkpoints.require_file(path)
    if not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such directory; make it, or name another --output")
    inputs = [{"file": str(path.resolve()), "sha256": sha256(path)} for path in paths]
    digests = [item["sha256"] for item in inputs]
    if len(set(digests)) < max(2, len(digests)):
        raise UserError(f"an average needs two or more different checkpoints, got {', '.join(map(str, paths))}")
    if os.path.lexists(output):
        known = [item["sha256"] for item in checkpoints.load(output).get("averaged_from") or []]
        if known != digests:
            raise UserError(f"{output}: exists and is not the average of these files; remove or rename it")
        return output
    # only their parameters are kept: Adam's state makes a checkpoint three times as large
    earlier = [checkpoints.load(path)["model"] for path in paths[:-1]]
    state = checkpoints.load(paths[-1])
    state["model"] = average_parameters([*earlier, state["model"]])
    state["averaged_from"] = inputs
    state.pop("last_optimizer_state", None)
    # validation results and meters belong to one input, not to the mean
    kept = ("train_iterator", "previous_training_time")
    try:
        state["extra_state"] = {key: state["extra_state"][key] for key in kept}
    except KeyError as error:
        raise UserError(f"{paths[-1]}: lacks {error}, which fairseq stores in a checkpoint") from error
    for item in inputs:
        checkpoints.require_unchanged(item["file"], item["sha256"])
    try:
        with atomic_write(output, shared=True) as temporary, open(temporary, "wb") as file:
            torch.save(state, file)
    except RuntimeError as error:  # in which PyTorch hides the reason, such as a full disk
        raise UserError(
            f"{output}: cannot be written ({error.__context__ or error}); make room, and run again"
        ) from error
    return output


def average_last(save_dir: Path, count: int, kind: str | None = None) -> Path:
    """Averages the last ``count`` checkpoints of a run, at least 2, into a file beside them, named after them.

    Their ``kind`` is "epoch" or "update", as fairseq numbered them; by default "epoch" if the run kept any of these.

    Raises:
        UserError: the run kept fewer; also as ``average_checkpoint``.
    """
    if not save_dir.is_dir():
        raise UserError(f"{save_dir}: no such directory")
    kind = kind or ("epoch" if checkpoints.numbered(save_dir, "epoch") else "update")
    found = checkpoints.numbered(save_dir, kind)
    if len(found) < count:
        kept = ", ".join(path.name for path in found.values()) or "none"
        raise UserError(
            f"{save_dir}: {count} checkpoints by {kind} wanted, {len(found)} found ({kept}); ask for fewer, or "
            "train with --keep-last-epochs, or --save-interval-updates and --keep-interval-updates, set to keep more"
        )
    numbers = list(found)[-count:]
    output = save_dir / f"checkpoint_average{count}_{kind}s_{numbers[0]}-{numbers[-1]}.pt"
    return average_checkpoint([found[number] for number in numbers], output)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gradinit_mt.evaluation.average", description="Average the parameters of several checkpoints."
    )
    add = parser.add_argument
    add("save_dir", nargs="?", type=Path, help="directory of a run; needs --last")
    add("--last", type=command.positive_int, metavar="N", help="average the last N checkpoints in SAVE_DIR")
    add("--by", choices=("epoch", "update"), help="kind of checkpoints to average (default: epoch if there are any)")
    add("--files", nargs="+", type=Path, metavar="FILE", help="average these checkpoints instead")
    add("--output", type=Path, metavar="FILE", help="where to write the average of --files")
    options = parser.parse_args()
    if options.files:
        if options.save_dir or options.last or options.by or not options.output:
            parser.error("--files takes --output and no other option")
        print(average_checkpoint(options.files, options.output))
    else:
        if not options.save_dir or not options.last or options.output:
            parser.error("give SAVE_DIR and --last N, or --files and --output")
        print(average_last(options.save_dir, options.last, options.by))


if __name__ == "__main__":
    command.run(main)
