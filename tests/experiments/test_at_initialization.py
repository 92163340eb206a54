"""The study of initializations, on the small corpus with a narrow model."""

import math

import derivatives
import numpy as np
import pytest
import torch
from bench import TOKENS, Bench, mean_over
from comparison.cells import Cell
from quantities import quantities

import gradinit_mt
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.record.record import fingerprint

gradinit_mt.register_with_fairseq()


@pytest.fixture(scope="module")
def bench(toy_corpus):
    narrow = ("--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32")
    run = Cell("toy", "xavier", 1e-3, 0.98, None, 1, 1, narrow)
    return Bench(run, PreparedCorpus.load(toy_corpus))


def values(table, row):
    """The numbers in the row that begins with ``row``."""
    [line] = [line for line in table.splitlines() if line.startswith(f"| {row} |")]
    return [float(word) for cell in line.split("|")[2:-1] for word in cell.replace("±", " ").split()]


def test_the_drop_of_all_parameters_is_the_drop_of_adams_first_step(bench):
    """Except for the biases of keys: their gradient is a rounding error below Adam's epsilon, but has a sign."""
    samples = bench.fixed(2)
    drops = []
    for number in range(2):
        model = bench.model()
        before = mean_over(lambda sample, model=model: bench.loss(model, sample), samples)
        bench.walk(model, 1, bench.batches(TOKENS, 200 + number))
        drops.append((before - mean_over(lambda sample, model=model: bench.loss(model, sample), samples)) / math.log(2))
    table = derivatives.drop_table(bench, samples, 2)
    mean, _ = values(table, "all parameters")
    assert mean == pytest.approx(sum(drops) / 2, rel=0.01)
    assert mean > 0.01
    assert abs(values(table, "the last LayerNorm alone")[0]) < mean / 2


def test_a_mean_is_compared_with_its_deviation_over_draws():
    draws = torch.tensor([[1.0, -1.0, 1.0], [3.0, 3.0, 1.1]])  # mean / deviation: 1.41, 0.35, 14.8
    ratio, agrees = derivatives._against_noise(draws)
    assert ratio == pytest.approx(math.sqrt(2), rel=1e-5)
    assert agrees == pytest.approx(5 / 6)


def test_batches_depend_only_on_their_number(bench):
    def first(number):
        return next(bench.batches(256, number))["id"].tolist()

    np.random.seed(0)  # which shuffles sentences of equal length, unless the order is drawn with a seed of its own
    found = first(3)
    np.random.seed(1)
    assert first(3) == found
    assert first(3) != first(4)
    assert [s["id"].tolist() for s in bench.fixed(2)] == [s["id"].tolist() for s in bench.fixed(2)]


def test_quantities_depend_on_the_scales_and_leave_the_initial_model_unchanged(bench):
    samples = bench.fixed(1)
    before = fingerprint(bench.theta0)
    plain, smaller = (quantities(bench, scales, samples) for scales in (None, bench.branches(0.3)))
    assert quantities(bench, None, samples) == plain, "the same batches"
    assert plain.one_step < plain.before
    assert smaller.before != plain.before
    assert smaller.signal_lost < plain.signal_lost, "the purpose of small branches"
    assert fingerprint(bench.theta0) == before
