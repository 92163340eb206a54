"""What every script does before it starts Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradinit_mt.corpora import iwslt14, parallel
from gradinit_mt.evaluation import export, run, translate
from gradinit_mt.record import report
from gradinit_mt.training import launch

NAMES = sorted(path.stem for path in Path(__file__).parents[2].glob("scripts/*.sh"))


@pytest.mark.parametrize("name", NAMES)
def test_help_is_found_whatever_the_shell_sets(root, tmp_path, name):
    """Where ``CDPATH`` is exported, ``cd`` prints where it goes, and may go elsewhere."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "started in $PYTHONPATH with $3"\n')
    python.chmod(0o755)
    variables = {"CDPATH": f".:{tmp_path}", "GRADINIT_MT_PYTHON": str(python), "PYTHONPATH": ""}
    done = subprocess.run(
        [f"scripts/{name}.sh", "--help"], cwd=root, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"started in {root} with --help\n" or f"scripts/{name}.sh" in done.stdout


@pytest.mark.parametrize("command", [parallel, iwslt14, launch, run, export, translate, report])
def test_help_of_every_command_behind_them_lists_its_options(monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    with pytest.raises(SystemExit) as ended:
        command.train(["--help"]) if command is launch else command.main()
    assert ended.value.code == 0
    assert "usage: scripts/" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["prepare_corpus", "train"])
def test_without_an_installation_it_says_how_to_make_one(root, tmp_path, name):
    python = str(tmp_path / "python")
    done = subprocess.run(
        [root / f"scripts/{name}.sh"], env=os.environ | {"GRADINIT_MT_PYTHON": python}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == f"error: no {python}; run make install, or set GRADINIT_MT_PYTHON\n"


def test_an_unfinished_installation_is_not_used(root, tmp_path):
    shutil.copytree(root / "scripts", tmp_path / "scripts")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name != "GRADINIT_MT_PYTHON"}
    done = subprocess.run([tmp_path / "scripts/train.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path}/.venv is unfinished; run make install\n"


def test_a_link_to_a_script_works_like_the_script(root, tmp_path):
    (tmp_path / "train").symlink_to(root / "scripts/train.sh")
    environment = os.environ | {"GRADINIT_MT_PYTHON": "/bin/echo"}
    done = subprocess.run([tmp_path / "train", "corpus"], env=environment, capture_output=True, text=True)
    assert done.stdout == "-m gradinit_mt.training.launch corpus\n"


@pytest.mark.parametrize("options", [("--dev", "--study"), ("--help", "extra")], ids=" ".join)
def test_the_installation_takes_one_option(root, options):
    done = subprocess.run([root / "scripts/install.sh", *options], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"found {' '.join(options)}; call scripts/install.sh once for each" in done.stderr
