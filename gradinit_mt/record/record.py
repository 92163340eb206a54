"""What GradInit learned, on disk: ``gradinit.safetensors`` (everything) and ``gradinit.json`` (for people to read).

The tensor file also holds the rest, as metadata, so that one atomic rename keeps tensors and facts consistent.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gradinit_mt.common.errors import UserError, differing
from gradinit_mt.common.files import atomic_write, write_text
from gradinit_mt.core import State
from gradinit_mt.core.blocks import block_facts
from gradinit_mt.core.state import KINDS

TENSORS = "gradinit.safetensors"
SUMMARY = "gradinit.json"


class RecordError(UserError):
    """A record cannot be read, or belongs to another run; the message names the file and the remedy."""


@dataclass(frozen=True)
class Record:
    """A state and what it was learned from."""

    settings: dict  # every option that affects the result, as plain values
    blocks: list[dict]  # ``block_facts`` of the model
    theta0: str  # ``fingerprint`` of the initial parameters
    state: State  # scales, history and trajectory so far

    @property
    def complete(self) -> bool:
        """Whether all iterations are done."""
        return self.state.iteration >= self.settings["iterations"]

    def require_iterations(self) -> None:
        """Raises a RecordError if nothing was learned, or not yet."""
        if self.complete and not self.state.history:
            raise RecordError("the record's scales were not learned: it has 0 iterations, so there is nothing to show")
        if not self.state.history:
            raise RecordError("the record holds no iteration yet; wait until the first ones are saved")

    def require_blocks_of(self, model: nn.Module) -> None:
        """Raises a RecordError with the first few differences if names or shapes of the blocks do not fit ``model``."""
        here = {block["name"]: block["shape"] for block in block_facts(model)}
        there = {block["name"]: block["shape"] for block in self.blocks}
        changes = differing(there, here, missing="missing")
        if not changes and [*here] != [*there]:
            changes = ["another order of its tensors"]
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise RecordError(
                f"the scales belong to another model ({'; '.join(changes[:3])}{more}): "
                "use the sizes and the dictionary of that model, or learn new scales"
            )

    def save(self, directory: str | Path) -> None:
        """Writes both files, each of them atomically; raises RecordError if the tensors cannot be written."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        state, scales = self.state, self.state.scales.tolist()
        trajectory = torch.stack(state.trajectory) if state.trajectory else torch.empty(0, len(self.blocks))
        tensors = {"scales": state.scales, "moments": state.moments, "trajectory": trajectory}
        facts = {
            "settings": self.settings,
            "complete": self.complete,
            "seconds": round(state.seconds, 3),
            "theta0": self.theta0,
            "steps": dict(zip(KINDS, state.steps, strict=True)),
            "blocks": [{**block, "scale": scale} for block, scale in zip(self.blocks, scales, strict=True)],
            "history": state.history,
        }
        with atomic_write(directory / TENSORS) as path:
            try:
                save_file(tensors, path, metadata={"facts": json.dumps(facts)})
            except SafetensorError as error:  # in which safetensors hides that of the system, such as a full disk
                raise RecordError(f"{directory / TENSORS}: cannot be written ({error})") from error
        write_text(directory / SUMMARY, _readable(facts))

    @classmethod
    def load(cls, directory: str | Path) -> "Record":
        """Reads the record of a save dir, or a ``.safetensors`` file.

        Raises:
            RecordError: there is none, or it cannot be read.
        """
        path = Path(directory)
        path = path if path.suffix == ".safetensors" else path / TENSORS
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["facts"])
                scales, moments, trajectory = map(file.get_tensor, ("scales", "moments", "trajectory"))
            steps = [int(facts["steps"][kind]) for kind in KINDS]
            state = State(scales, moments, steps, facts["history"], list(trajectory), float(facts["seconds"]))
            blocks = [{key: block[key] for key in ("name", "shape", "learnable")} for block in facts["blocks"]]
            record = cls(facts["settings"], blocks, facts["theta0"], state)
            _require_consistent(record, trajectory)
            return record
        except FileNotFoundError as error:
            raise RecordError(f"{path}: no such file; GradInit writes it to the save dir") from error
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise RecordError(f"{path}: not a record of GradInit ({error})") from error


def _require_consistent(record: Record, trajectory: Tensor) -> None:
    """Raises a ValueError if parts of a record read from a file do not fit each other, or are out of their ranges."""
    blocks, history = len(record.blocks), record.state.history
    for name, tensor, shape in (
        ("scales", record.state.scales, (blocks,)),
        ("moments", record.state.moments, (len(KINDS), 2, blocks)),
        ("trajectory", trajectory, (len(history), blocks)),
    ):
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise ValueError(f"{name}: {list(tensor.shape)} of {tensor.dtype}, expected {list(shape)} floats")
        if not tensor.isfinite().all() or (name != "moments" and not (tensor > 0).all()):
            raise ValueError(f"{name}: a number is not finite, or not above 0")
    if not isinstance(record.settings, dict) or not isinstance(record.settings.get("iterations"), int):
        raise ValueError("settings: expected those of GradInit, with iterations")
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise ValueError("history: expected one entry for each iteration")


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of the names, shapes, types and values of the trainable parameters."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _readable(facts: dict) -> str:
    """JSON with one line per block and per iteration."""
    lines = []
    for key, value in facts.items():
        text = json.dumps(value)
        if key in ("blocks", "history"):
            text = "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"
        lines.append(f'  "{key}": {text}')
    return "{\n" + ",\n".join(lines) + "\n}\n"
