"""The mean of several checkpoints' parameters, for translating with (Vaswani et al. 2017, section 6.1).

    python -m gradinit_mt.evaluation.average SAVE_DIR --last 5
    python -m gradinit_mt.evaluation.average --files A.pt B.pt --output AVERAGE.pt

It computes what fairseq's example script ``average_checkpoints.py`` computes, which its package does not install as
a command and which current PyTorch keeps from loading checkpoints.
"""

import argparse
import os
from pathlib import Path

import torch

from gradinit_mt.common import command
from gradinit_mt.common.files import sha256, whole
from gradinit_mt.evaluation import EvaluationError
from gradinit_mt.training import checkpoints


def average_parameters(models: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each parameter over several state dicts, computed in float64.

    Returns:
        Floating-point entries in float32 (float64 where they were), other entries as they are.

    Raises:
        EvaluationError: the state dicts differ in names or shapes, or in an entry that has no mean (integers).
    """
    first = models[0]
    mean = {}
    for model in models[1:]:
        if model.keys() != first.keys():
            wrong = ", ".join(sorted(model.keys() ^ first.keys())[:5])
            raise EvaluationError(f"the checkpoints hold different parameters ({wrong}); are they of one run?")
    for name, tensor in first.items():
        shapes = [tuple(model[name].shape) for model in models]
        if len(set(shapes)) > 1:
            raise EvaluationError(f"{name} has different shapes {shapes}; are the checkpoints of one run?")
        if tensor.is_floating_point():
            total = torch.zeros_like(tensor, dtype=torch.float64)
            for model in models:
                total += model[name]
            # half precision would round the mean away
            mean[name] = (total / len(models)).to(torch.promote_types(tensor.dtype, torch.float32))
        elif all(torch.equal(model[name], tensor) for model in models):
            mean[name] = tensor
        else:
            raise EvaluationError(f"{name} ({tensor.dtype}) differs between the checkpoints and has no mean")
    return mean


def average_checkpoint(paths: list[Path], output: Path) -> Path:
    """Writes a checkpoint with the mean parameters of ``paths``; its settings are those of the last of them.

    The result is for translating: it holds no optimizer state. Under "averaged_from" it lists its inputs with their
    checksums; where ``output`` exists and lists exactly these inputs it is left as it is.

    Raises:
        EvaluationError: fewer than two inputs, one named twice, inputs that do not fit together, or ``output``
            exists and is something else.
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if not path.is_file():
            raise EvaluationError(f"{path}: no such checkpoint")
    inputs = [{"file": str(path.resolve()), "sha256": sha256(path)} for path in paths]
    digests = [item["sha256"] for item in inputs]
    if len(set(digests)) < max(2, len(digests)):
        raise EvaluationError(f"an average needs two or more different checkpoints, got {', '.join(map(str, paths))}")
    if os.path.lexists(output):
        known = [item["sha256"] for item in checkpoints.load(output).get("averaged_from") or []]
        if known != digests:
            raise EvaluationError(f"{output}: exists and is not the average of these files; remove or rename it")
        return output
    # only the parameters are kept of each: with Adam's state a checkpoint is three times as large
    earlier = [checkpoints.load(path)["model"] for path in paths[:-1]]
    state = checkpoints.load(paths[-1])
    state["model"] = average_parameters([*earlier, state["model"]])
    state["averaged_from"] = inputs
    state.pop("last_optimizer_state", None)
    # validation results and meters are those of one input, not of the mean
    kept = ("train_iterator", "previous_training_time")
    state["extra_state"] = {key: state["extra_state"][key] for key in kept}
    with whole(output) as temporary:
        torch.save(state, temporary)
    return output


def average_last(save_dir: Path, count: int, kind: str | None = None) -> Path:
    """Averages the last ``count`` checkpoints of a run into its directory; the name says which they are.

    Args:
        save_dir: the run's directory.
        count: how many, 2 or more.
        kind: "epoch" or "update" (how fairseq numbered them); None takes epochs where the run kept any.

    Raises:
        EvaluationError: the run kept fewer, and as ``average_checkpoint`` raises.
    """
    if not save_dir.is_dir():
        raise EvaluationError(f"{save_dir}: no such directory")
    kind = kind or ("epoch" if checkpoints.numbered(save_dir, "epoch") else "update")
    found = checkpoints.numbered(save_dir, kind)
    if len(found) < count:
        kept = ", ".join(path.name for path in found.values()) or "none"
        raise EvaluationError(
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
    parser.add_argument("save_dir", nargs="?", type=Path, help="directory of a run; needs --last")
    parser.add_argument(
        "--last", type=command.positive_int, metavar="N", help="average the last N checkpoints of SAVE_DIR"
    )
    parser.add_argument(
        "--by", choices=("epoch", "update"), help="which of its checkpoints (default: by epoch where there are any)"
    )
    parser.add_argument("--files", nargs="+", type=Path, metavar="FILE", help="average these checkpoints instead")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write the average of --files")
    options = parser.parse_args()
    if options.files:
        if options.save_dir or options.last or options.by or not options.output:
            parser.error("--files goes with --output and with nothing else")
        print(average_checkpoint(options.files, options.output))
    else:
        if not options.save_dir or not options.last or options.output:
            parser.error("give SAVE_DIR and --last N, or --files and --output")
        print(average_last(options.save_dir, options.last, options.by))


if __name__ == "__main__":
    command.run(main)
