"""Imports between the package's folders go one way."""

import ast

import pytest

# Each folder may import those before it, and itself.
ORDER = (
    *("common", "corpora", "core", "record", "models", "criterions", "optim", "lr_schedulers"),
    *("initializers", "plugin", "tasks", "training", "evaluation"),
)
LIMITS = {"common": set()} | {folder: {"common"} for folder in ("corpora", "core", "models", "optim", "lr_schedulers")}


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
        folder: set().union(*(imported(path) for path in (root / "gradinit_mt" / folder).rglob("*.py")))
        for folder in ORDER
    }


def test_the_order_names_every_folder(root):
    assert set(ORDER) == {path.parent.name for path in (root / "gradinit_mt").glob("*/__init__.py")}


@pytest.mark.parametrize("folder", ORDER)
def test_a_folder_imports_only_earlier_ones(imports, folder):
    parts = [name.split(".") for name in imports[folder] if name.startswith("gradinit_mt.")]
    used = {name[1] for name in parts} - {folder, "__version__"}
    assert used <= LIMITS.get(folder, set(ORDER[: ORDER.index(folder)]))


@pytest.mark.parametrize("folder", ["common", "corpora", "core", "record", "initializers"])
def test_these_do_without_fairseq(imports, folder):
    assert not [name for name in imports[folder] if name.split(".")[0] in ("fairseq", "fairseq_cli")]
