"""Imports between the package's folders go one way."""

import ast

import pytest

# Each folder may import those before it, and itself.
ORDER = (
    *("common", "corpora", "core", "record", "models", "criterions", "optim", "lr_schedulers"),
    *("initializers", "plugin", "tasks", "training", "evaluation"),
)
LIMITS = {"common": set()} | {room: {"common"} for room in ("corpora", "core", "models", "optim", "lr_schedulers")}


def imported(path) -> set[str]:
    """The dotted names that a file imports, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.fixture(scope="module")
def imports(root) -> dict[str, set[str]]:
    """All names that the files of each folder import."""
    return {
        room: set().union(*(imported(path) for path in (root / "gradinit_mt" / room).rglob("*.py"))) for room in ORDER
    }


def test_the_order_names_every_folder(root):
    assert set(ORDER) == {path.parent.name for path in (root / "gradinit_mt").glob("*/__init__.py")}


@pytest.mark.parametrize("room", ORDER)
def test_a_folder_imports_only_earlier_ones(imports, room):
    parts = [name.split(".") for name in imports[room] if name.startswith("gradinit_mt.")]
    used = {name[1] for name in parts} - {room, "__version__"}
    assert used <= LIMITS.get(room, set(ORDER[: ORDER.index(room)]))


@pytest.mark.parametrize("room", ["common", "corpora", "core", "record", "initializers"])
def test_these_do_without_fairseq(imports, room):
    assert not [name for name in imports[room] if name.split(".")[0] in ("fairseq", "fairseq_cli")]
