"""Checkpoints that evaluation, export, averaging and training cannot work with.

Each is named in a message, and nothing is changed or left behind; see ``test_bad_runs.py`` for other files.
"""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusing import BEST, EVALUATE, LAST, RESUME, Bad, refused, text

EXPORT = "export run --data corpus --output new/model"
AVERAGE = "average --files run/checkpoint_best.pt other.pt --output average.pt"


def changed(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Changes a checkpoint."""

    def spoil(folder: Path) -> None:
        state = torch.load(folder / name, weights_only=True)
        change(state)
        torch.save(state, folder / name)

    return spoil


def cut(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-3000])

    return spoil


def one_bit(folder: Path) -> None:
    content = bytearray((folder / BEST).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / BEST).write_bytes(content)


def scripted(folder: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1)), folder / BEST)


def pair(change: Callable[[dict], object] = lambda state: None) -> Callable[[Path], None]:
    """Another checkpoint for an average."""

    def spoil(folder: Path) -> None:
        shutil.copy(folder / LAST, folder / "other.pt")
        changed("other.pt", lambda state: (state.update(other=1), change(state)))(folder)

    return spoil


UNREADABLE = r"run/checkpoint_best\.pt: cannot be read as a checkpoint: "
CHECKPOINTS = [
    Bad("none", f"{EVALUATE} --checkpoint none.pt", r"none\.pt: no such checkpoint; \. holds no \.pt file"),
    Bad("a directory", f"{EVALUATE} --checkpoint run", r"run: no such checkpoint"),
    Bad("truncated", EVALUATE, rf"{UNREADABLE}PytorchStreamReader .*was the training killed", cut(BEST)),
    Bad(
        "one bit changed",
        EVALUATE,
        r"run/checkpoint_best\.pt: damaged, its part \S+ differs from its checksum",
        one_bit,
    ),
    Bad("empty", EXPORT, rf"{UNREADABLE}EOFError", text(BEST, b"")),
    Bad("text", EXPORT, rf"{UNREADABLE}it is no file of torch\.save", text(BEST, "hello")),
    Bad(
        "a plain pickle",
        EVALUATE,
        rf"{UNREADABLE}it is no checkpoint, or holds more",
        text(BEST, pickle.dumps({"a": 1})),
    ),
    Bad("TorchScript", EVALUATE, rf"{UNREADABLE}it is no checkpoint, or holds more", scripted),
    Bad("a list", RESUME, r".*checkpoint_last\.pt: not a fairseq checkpoint", lambda f: torch.save([1], f / LAST)),
    Bad(
        "of another model",
        EXPORT,
        r".*checkpoint_best\.pt: its model is 'fconv'; expected one of post_ln_transformer, ",
        changed(BEST, lambda state: state["cfg"]["model"].update(_name="fconv")),
    ),
    Bad(
        "of the reverse direction",
        EVALUATE,
        r".*checkpoint_best\.pt: was trained from en to de, the corpus is de to en",
        changed(BEST, lambda state: state["cfg"]["task"].update(source_lang="en", target_lang="de")),
    ),
    Bad(
        "of another vocabulary",
        EVALUATE,
        r"run/checkpoint_best\.pt: its encoder has 9 subwords, the dictionary of corpus for de [\d,]+; give the corpus",
        changed(BEST, lambda state: state["model"].update({"encoder.embed_tokens.weight": torch.ones(9, 32)})),
    ),
    Bad(
        "without a tensor",
        EXPORT,
        r'run/checkpoint_best\.pt: .*Missing key\(s\) in state_dict: "encoder\.layers\.0\.fc1\.weight"',
        changed(BEST, lambda state: state["model"].pop("encoder.layers.0.fc1.weight")),
    ),
    Bad(
        "without counts",
        EVALUATE,
        r".*lacks what fairseq",
        changed(BEST, lambda state: state["optimizer_history"].clear()),
    ),
    Bad("too few", "average run --last 3", r"run: 3 checkpoints by update wanted, 0 found \(none\); ask for fewer"),
    Bad("a missing one to average", AVERAGE, r"other\.pt: no such checkpoint"),
    Bad(
        "the same twice",
        AVERAGE,
        r"an average needs two or more different",
        lambda f: shutil.copy(f / BEST, f / "other.pt"),
    ),
    Bad(
        "of another shape",
        AVERAGE,
        r"encoder\.layers\.0\.fc1\.bias has different shapes",
        pair(lambda state: state["model"].update({"encoder.layers.0.fc1.bias": torch.ones(1)})),
    ),
    Bad(
        "an average that exists", AVERAGE.replace("average.pt", BEST), rf"{BEST}: exists and is not the average", pair()
    ),
    Bad(
        "an average in no directory",
        AVERAGE.replace("average.pt", "no/a.pt"),
        r"no: no such directory; make it",
        pair(),
    ),
    Bad("a full disk", AVERAGE, r"average\.pt: cannot be written \(.*too large.*\); make room", pair(), largest=9000),
]


@pytest.mark.parametrize("bad", CHECKPOINTS, ids=lambda bad: bad.name)
def test_checkpoints(folder, bad):
    refused(bad, folder)
