"""--sentence-avg changes what training divides its gradients by; GradInit's losses stay per token."""

import pytest
import torch
from short_runs import ADAM, GRADINIT

from gradinit_mt.record.record import Record


def learned(fairseq, save_dir, *arguments):
    fairseq.train(save_dir, 1, *GRADINIT, *arguments)
    return Record.load(save_dir)


def test_the_default_form_learns_the_same_scales_as_without(fairseq, trained, tmp_path):
    with_it, without = learned(fairseq, tmp_path / "with", *ADAM, "--sentence-avg"), Record.load(trained)
    assert with_it.settings["sentence_avg"] is True
    assert torch.equal(with_it.state.scales, without.state.scales)
    assert with_it.state.history == without.state.history


def test_the_published_form_learns_the_same_scales_as_without(fairseq, tmp_path):
    """The bound leads to both kinds of step; with losses per sentence, every norm would exceed it."""
    paper = [*ADAM, "--gradinit-form", "paper", "--gradinit-gamma", "160"]
    with_it = learned(fairseq, tmp_path / "with", *paper, "--sentence-avg")
    without = learned(fairseq, tmp_path / "without", *paper)
    assert torch.equal(with_it.state.scales, without.state.scales)
    assert 0 not in without.state.steps


def test_sgd_steps_per_sentence_equal_steps_per_token_at_a_proportionally_higher_rate(fairseq, tmp_path):
    """A gradient per sentence is as long as a gradient per token times the tokens in the sentence."""
    sgd = ["--optimizer", "sgd", "--momentum", "0.9"]
    over_sentences = learned(fairseq, tmp_path / "sentences", *sgd, "--lr", "0.004", "--sentence-avg")
    targets = (fairseq.corpus / "train.en").read_text().splitlines()
    tokens = sum(len(line.split()) + 1 for line in targets) / len(targets)
    assert over_sentences.settings["eta"] == pytest.approx(0.004 * tokens)
    over_tokens = learned(fairseq, tmp_path / "tokens", *sgd, "--lr", str(0.004 * tokens))
    assert torch.allclose(over_sentences.state.scales, over_tokens.state.scales, rtol=1e-6)
    moved = over_tokens.state.trajectory[-1] - over_tokens.state.trajectory[0]
    assert moved.abs().max() > 0.01
