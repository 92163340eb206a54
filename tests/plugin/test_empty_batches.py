"""Updates of several batches of which one is empty, as a process of several has at the end of an epoch."""

import pytest
import torch
from fairseq.logging import metrics
from in_process import configured, parameters, trainer_of, updates_of


@pytest.fixture
def updated(toy_corpus, tmp_path):
    """A function that takes a step on samples made of the first batch; it returns the parameters and what is logged."""

    def update(samples_of):
        trainer = trainer_of(configured(toy_corpus, tmp_path, "--no-gradinit"))
        batch = next(updates_of(trainer))[0]
        before = parameters(trainer.model)
        metrics.reset()
        with metrics.aggregate("train_inner"):
            trainer.train_step(samples_of(batch))
        return before, parameters(trainer.model), metrics.get_smoothed_values("train_inner")

    return update


@pytest.mark.parametrize("samples_of", [lambda batch: [batch, {}], lambda batch: [{}, batch]], ids=["last", "first"])
def test_an_empty_batch_changes_nothing(updated, samples_of):
    _, plain, plain_log = updated(lambda batch: [batch])
    _, filled, filled_log = updated(samples_of)
    torch.testing.assert_close(filled, plain, rtol=0, atol=0)
    for name in ("loss", "gnorm", "wpb", "bsz"):
        assert filled_log[name] == plain_log[name]


def test_an_update_of_empty_batches_alone_moves_nothing(updated):
    before, after, _ = updated(lambda _: [{}, {}])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
