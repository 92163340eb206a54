"""What GradInit learned, on disk: ``gradinit.safetensors`` (all of it) and ``gradinit.json`` (to be read by people).

The tensor file carries the rest as metadata, so that one atomic rename keeps both in step.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from gradinit_mt.common.errors import UserError, differing
from gradinit_mt.common.files import whole
from gradinit_mt.core import State, find_blocks

TENSORS = "gradinit.safetensors"
SUMMARY = "gradinit.json"


class RecordError(UserError):
    """A record cannot be read, or belongs to another run; the message names the file and the remedy."""


@dataclass(frozen=True)
class Record:
    """A state and what it was learned from.

    Attributes:
        settings: every option that shapes the result, as plain values.
        blocks: one entry per block: ``name``, ``shape`` and ``learnable``.
        theta0: fingerprint of the initial parameters.
        state: scales, history and trajectory so far.
    """

    settings: dict
    blocks: list[dict]
    theta0: str
    state: State

    @property
    def complete(self) -> bool:
        """Whether all iterations are done."""
        return self.state.iteration >= self.settings["iterations"]

    def require_iterations(self) -> None:
        """Checks that there is something to show.

        Raises:
            RecordError: nothing was learned yet.
        """
        if not self.state.history:
            raise RecordError("the record holds no iteration yet; wait for the first ones")

    def require_blocks_of(self, model: nn.Module) -> None:
        """Checks that the scales fit ``model``.

        Raises:
            RecordError: names or shapes of the blocks differ; the message names the first few.
        """
        here = {block["name"]: block["shape"] for block in block_facts(model)}
        there = {block["name"]: block["shape"] for block in self.blocks}
        changes = differing(there, here, missing="missing")
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise RecordError(
                f"the scales belong to another model ({'; '.join(changes[:3])}{more}): "
                "train with that model's sizes and dictionary, or learn new scales"
            )

    def save(self, directory: Path) -> None:
        """Writes both files, each whole or not at all."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        state = self.state
        trajectory = torch.stack(state.trajectory) if state.trajectory else torch.empty(0, len(self.blocks))
        tensors = {"scales": state.scales, "moments": state.moments, "trajectory": trajectory}
        facts = {
            "settings": self.settings,
            "complete": self.complete,
            "seconds": round(state.seconds, 3),
            "theta0": self.theta0,
            "steps": {"objective": state.steps[0], "constraint": state.steps[1]},
            "blocks": [
                {**block, "scale": scale} for block, scale in zip(self.blocks, state.scales.tolist(), strict=True)
            ],
            "history": state.history,
        }
        with whole(directory / TENSORS) as path:
            save_file(tensors, path, metadata={"facts": json.dumps(facts)})
        with whole(directory / SUMMARY) as path:
            path.write_text(_readable(facts), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> "Record":
        """Reads the record of a save dir (or of a ``.safetensors`` file).

        Raises:
            RecordError: there is none, or it cannot be read.
        """
        path = Path(directory)
        path = path if path.suffix == ".safetensors" else path / TENSORS
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["facts"])
                tensors = {name: file.get_tensor(name) for name in ("scales", "moments", "trajectory")}
            state = State(
                tensors["scales"],
                tensors["moments"],
                [facts["steps"]["objective"], facts["steps"]["constraint"]],
                facts["history"],
                list(tensors["trajectory"]),
                facts["seconds"],
            )
            blocks = [{key: block[key] for key in ("name", "shape", "learnable")} for block in facts["blocks"]]
            return cls(facts["settings"], blocks, facts["theta0"], state)
        except FileNotFoundError as error:
            raise RecordError(f"{path}: no such file; GradInit writes it into the save dir") from error
        except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise RecordError(f"{path}: not a record of GradInit ({error})") from error


def block_facts(model: nn.Module) -> list[dict]:
    """``Record.blocks`` of a model."""
    return [
        {"name": block.name, "shape": list(block.parameter.shape), "learnable": block.learnable}
        for block in find_blocks(model)
    ]


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of the trainable parameters."""
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
        if key in ("blocks", "history"):
            rows = ",\n".join("    " + json.dumps(row) for row in value)
            lines.append(f'  "{key}": [\n{rows}\n  ]')
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
