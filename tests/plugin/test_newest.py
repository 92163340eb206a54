"""The checkpoint to resume from, after kills at any point of a save and after damage."""

import collections
import itertools
import os

import pytest
import torch

from gradinit_mt.plugin.checkpoints.newest import mend


@pytest.fixture
def saved(tmp_path):
    """Writes checkpoints with so many updates each, by name, each a second after the one before it."""
    seconds = itertools.count(10**9)  # long ago; a file system may give files written at once the same time

    def save(extra_state=None, **updates):
        for name, number in updates.items():
            state = {"optimizer_history": [{"num_updates": number}], "model": torch.arange(1000.0)}
            torch.save(state | {"extra_state": extra_state or {}}, tmp_path / f"{name}.pt")
            os.utime(tmp_path / f"{name}.pt", (next(seconds),) * 2)

    return save


def flip(path):
    """Changes one bit in the middle, among the values of a tensor."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return bytes(content)


def cut(path):
    """Cuts the end off."""
    path.write_bytes(path.read_bytes()[:-100])
    return path.read_bytes()


def names(directory) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_whole_last_checkpoint_stays_and_leftovers_of_a_save_go(tmp_path, saved):
    saved(checkpoint1=5, checkpoint_last=9, checkpoint_2_9=9, checkpoint_average2_epochs_1=99)
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    for name in (".checkpoint_last.pt.tmp", "checkpoint_2_12.pt.tmp"):
        (tmp_path / name).write_bytes(b"half")
    kept = [name for name in names(tmp_path) if not name.endswith(".tmp")]
    (tmp_path / ".checkpoint_average2_epochs_1-2.12ab.pt.tmp").touch()  # which evaluation is making
    assert mend(tmp_path) == []
    (tmp_path / ".checkpoint_average2_epochs_1-2.12ab.pt.tmp").unlink()
    assert names(tmp_path) == kept
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before


@pytest.mark.parametrize("damage", [flip, cut])
def test_the_newest_whole_checkpoint_replaces_a_damaged_last_one(tmp_path, saved, damage):
    saved(checkpoint1=5, checkpoint_2_9=9, checkpoint_average2_epochs_1=99, checkpoint_best=5, checkpoint_last=12)
    last = tmp_path / "checkpoint_last.pt"
    broken = damage(last)
    damaged, resumed = mend(tmp_path)
    assert damaged == f"{last} is damaged: set aside as checkpoint_last.broken"
    assert resumed == "resuming from checkpoint_2_9.pt (update 9)"
    assert (tmp_path / "checkpoint_last.broken").read_bytes() == broken
    assert last.read_bytes() == (tmp_path / "checkpoint_2_9.pt").read_bytes()
    assert mend(tmp_path) == []


def test_every_damaged_checkpoint_is_kept_under_another_name(tmp_path, saved):
    saved(checkpoint1=5, checkpoint_2_9=9, checkpoint_last=9)
    (tmp_path / "checkpoint_last.broken").write_bytes(b"an earlier one")
    broken = flip(tmp_path / "checkpoint_last.pt")
    flip(tmp_path / "checkpoint_2_9.pt")
    assert mend(tmp_path)[-1] == "resuming from checkpoint1.pt (update 5)"
    assert (tmp_path / "checkpoint_last.broken").read_bytes() == b"an earlier one"
    assert (tmp_path / "checkpoint_last.broken1").read_bytes() == broken
    assert (tmp_path / "checkpoint_2_9.broken").exists()


def test_a_kill_between_the_files_of_a_save_loses_no_update(tmp_path, saved):
    saved(checkpoint_last=9, checkpoint_2_12=12)
    assert mend(tmp_path) == ["resuming from checkpoint_2_12.pt (update 12)"]
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == (tmp_path / "checkpoint_2_12.pt").read_bytes()


@pytest.mark.parametrize("before", [{}, {"checkpoint_best": 9}], ids=["first", "later"])
@pytest.mark.parametrize(("loss", "is_best"), [(2.0, True), (3.0, False), (None, False)])
def test_a_kill_between_the_files_of_a_save_loses_no_best_checkpoint(tmp_path, saved, before, loss, is_best):
    """fairseq never saves it again, since the numbered one remembers that its loss was the best."""
    saved(checkpoint_last=9, **before)
    saved({"val_loss": loss, "best": 2.0}, checkpoint_2_12=12)
    best = tmp_path / "checkpoint_best.pt"
    content = best.read_bytes() if best.exists() else None
    said = mend(tmp_path)
    assert ("checkpoint_2_12.pt is the best so far" in said) == is_best
    expected = (tmp_path / "checkpoint_2_12.pt").read_bytes() if is_best else content
    assert (best.read_bytes() if best.exists() else None) == expected
    assert mend(tmp_path) == []


def test_more_updates_written_earlier_are_not_newer(tmp_path, saved):
    """Updates count from 0 again after --reset-optimizer. And users copy an earlier checkpoint over the last."""
    saved({"val_loss": 2.0, "best": 2.0}, checkpoint_1_20=20)
    saved({"val_loss": 3.0, "best": 3.0}, checkpoint_best=5, checkpoint_last=5)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert mend(tmp_path) == []
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_best_checkpoint_written_later_stays_when_an_earlier_one_replaces_a_damaged_last_one(tmp_path, saved):
    saved({"val_loss": 2.0, "best": 2.0}, checkpoint_1_20=20)
    saved({"val_loss": 3.0, "best": 3.0}, checkpoint_best=5, checkpoint_last=5)
    flip(tmp_path / "checkpoint_last.pt")
    best = (tmp_path / "checkpoint_best.pt").read_bytes()
    assert mend(tmp_path)[1:] == ["resuming from checkpoint_1_20.pt (update 20)"]
    assert (tmp_path / "checkpoint_best.pt").read_bytes() == best


def test_a_damaged_best_checkpoint_is_replaced_by_the_best_one_before_it(tmp_path, saved):
    saved({"val_loss": 2.0, "best": 2.0}, checkpoint_1_20=20, checkpoint_best=25, checkpoint_last=30)
    for name in ("best", "last"):
        flip(tmp_path / f"checkpoint_{name}.pt")
    assert mend(tmp_path)[-1] == "checkpoint_1_20.pt is the best so far"
    assert (tmp_path / "checkpoint_best.pt").read_bytes() == (tmp_path / "checkpoint_1_20.pt").read_bytes()


@pytest.mark.parametrize("link", ["checkpoint1.pt", "gone.pt"])
def test_a_link_is_as_old_as_itself(tmp_path, saved, link):
    saved(checkpoint1=5, checkpoint2=10)
    last = tmp_path / "checkpoint_last.pt"
    last.symlink_to(link)
    said = mend(tmp_path)
    assert ("is damaged" in " ".join(said)) == (link == "gone.pt")
    assert last.read_bytes() == (tmp_path / ("checkpoint2.pt" if said else link)).read_bytes()


def test_without_a_whole_checkpoint_the_run_starts_over(tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes(b"cut short")
    assert mend(tmp_path)[-1] == "no other checkpoint is whole: starting over"
    assert names(tmp_path) == ["checkpoint_last.broken"]


def test_a_whole_file_that_is_refused_is_not_replaced(tmp_path, saved):
    """It may be a checkpoint from elsewhere: the error of loading it says why it is refused."""
    saved(checkpoint1=5)
    torch.save({"optimizer_history": collections.deque()}, tmp_path / "checkpoint_last.pt")
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    assert mend(tmp_path) == []
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before
