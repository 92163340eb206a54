"""Batches: pairs of overlapping parts, reproducible from a seed and distributed over steps and ranks."""

import itertools

import torch
from fairseq.data import ListDataset
from in_process import configured, trainer_of

from gradinit_mt.plugin.batches import OverlappingBatches, batches_of

BATCHES = [list(range(first, first + 6)) for first in range(0, 60, 6)]


class Numbers(ListDataset):
    """A dataset whose samples are their own indices."""

    def __init__(self, size):
        super().__init__(list(range(size)))

    def collater(self, members):
        return {"members": members}


def drawn(count, start=0, **arguments):
    """For each iteration, the sentences of each part: a list of (S, S~) as tuples."""
    source = OverlappingBatches(Numbers(60), BATCHES, **{"seed": 3} | arguments)
    return [
        [(tuple(s["members"]), tuple(t["members"])) for s, t in zip(*pair, strict=True)]
        for pair in itertools.islice(source.pairs(start), count)
    ]


def test_each_epoch_has_every_batch_once_in_a_new_order():
    first = [frozenset(s + t) for [(s, t)] in drawn(10)]
    second = [frozenset(s + t) for [(s, t)] in drawn(10, start=10)]
    assert set(first) == set(second) == {frozenset(batch) for batch in BATCHES}
    assert first != second
    for [(s, t)] in drawn(10):
        assert len(s) == len(t) == 4
        assert len(set(s) & set(t)) == 2


def test_pairs_depend_on_the_seed_only_and_can_start_at_any_iteration():
    assert drawn(25) == drawn(25)
    assert drawn(25)[17:] == drawn(8, start=17)
    assert drawn(25) != drawn(25, seed=4)


def test_the_steps_of_a_look_ahead_divide_the_sentences_of_s():
    whole = OverlappingBatches(Numbers(60), BATCHES, seed=3)
    for steps, sizes in ((3, [1, 1, 2]), (4, [1, 1, 1, 1]), (6, [1, 1, 1, 1, 1, 1])):
        shared = OverlappingBatches(Numbers(60), BATCHES, seed=3, steps=steps)
        both = zip(whole.pairs(), shared.pairs(), strict=True)
        for ([s], [s_tilde]), (shares, again) in itertools.islice(both, 10):
            assert again == [s_tilde]
            dealt = [number for share in shares for number in share["members"]]
            assert [len(share["members"]) for share in shares] == sizes
            # with four sentences for six steps, the first two repeat
            assert dealt == (s["members"] * 2)[: sum(sizes)]


def test_accumulated_batches_give_each_step_a_share_of_their_own():
    """All shares of the first step come first."""
    alone, together = (OverlappingBatches(Numbers(60), BATCHES, seed=3, steps=2, parts=parts) for parts in (1, 2))
    single = alone.pairs()
    for s, s_tilde in itertools.islice(together.pairs(), 5):
        (first, second), [ahead] = next(single)
        (other_first, other_second), [other_ahead] = next(single)
        assert s == [first, other_first, second, other_second]
        assert s_tilde == [ahead, other_ahead]


def test_two_ranks_divide_what_one_process_accumulates():
    ranks = [drawn(12, rank=rank, world_size=2) for rank in (0, 1)]
    assert [a + b for a, b in zip(*ranks, strict=True)] == drawn(12, parts=2)


def test_parts_of_a_batch_are_chosen_by_position():
    source = OverlappingBatches(Numbers(60), BATCHES, seed=3)
    sample = next(source.whole())
    first, second = source.divide(
        {"id": torch.tensor(sample["members"])}, lambda size: [[0, size - 1], [size - 1, 2, 1]]
    )
    a, b, c, *_, last = sample["members"]
    assert first["members"] == [a, last]
    assert second["members"] == [last, c, b]


def test_pairs_that_are_too_long_for_gradinit_alone_are_not_said_to_be_left_out_of_training(
    toy_corpus, tmp_path, caplog
):
    trainer = trainer_of(configured(toy_corpus, tmp_path, "--gradinit-max-tokens", "14"))
    trainer.task.load_dataset("train")
    caplog.set_level("INFO")
    caplog.clear()
    found = batches_of(trainer.task, trainer.model)
    left_out = len(trainer.task.dataset("train")) - sum(map(len, found.batches))
    assert left_out > 0
    [message] = [record.getMessage() for record in caplog.records if "training pairs" in record.getMessage()]
    expected = f"{left_out} of 240 training pairs are longer than (14, 14) tokens, and are left out of the batches of"
    assert message == f"{expected} initialization"
    assert not any("invalid sizes" in record.getMessage() for record in caplog.records)
