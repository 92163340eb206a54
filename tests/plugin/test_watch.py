"""The options of the watch, and the sentences on which it takes its readings."""

import logging

import pytest
from fairseq.data import LanguagePairDataset
from in_process import configured, trainer_of

from gradinit_mt.core import GradInitError
from gradinit_mt.plugin.watch.watch import _Judge


@pytest.fixture
def judge(toy_corpus, tmp_path):
    """A function that makes the watch's rule for a validation set of so many sentences."""

    def made(held_out, *options):
        trainer = trainer_of(configured(toy_corpus, tmp_path, "--no-gradinit", "--watch-updates", "9", *options))
        task = trainer.task
        for split in ("train", "valid"):
            task.load_dataset(split)
        whole = task.datasets["valid"]
        src, tgt = ([side[index] for index in range(held_out)] for side in (whole.src, whole.tgt))
        sizes = [list(map(len, side)) for side in (src, tgt)]
        task.datasets["valid"] = LanguagePairDataset(src, sizes[0], whole.src_dict, tgt, sizes[1], whole.tgt_dict)
        return _Judge.of(task, trainer.get_model())

    return made


def test_readings_are_of_the_validation_set_or_else_of_the_training_set(judge):
    assert len(judge(5).sample["id"]) == 5
    assert len(judge(1).sample["id"]) > 5, "a single sentence has no other source"


def test_where_no_two_sentences_fit_a_warning_says_what_the_watch_still_does(judge, caplog):
    with caplog.at_level(logging.WARNING):
        assert judge(5, "--max-tokens", "7").sample is None
    assert "no two sentences fit a batch, so only losses that are not finite will end this run" in caplog.text


@pytest.mark.parametrize("option", ["--watch-updates", "--watch-language-model-updates"])
def test_a_negative_number_of_updates_is_refused(toy_corpus, tmp_path, option):
    with pytest.raises(GradInitError, match=f"{option} is -1, expected a number of updates, or 0 for never"):
        trainer_of(configured(toy_corpus, tmp_path, option, "-1"))
