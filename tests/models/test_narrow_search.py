"""Beam search over the best tokens of each hypothesis finds what fairseq's own finds over the vocabulary."""

import argparse

import pytest
import torch
from fairseq.models import build_model
from fairseq.search import BeamSearch, Sampling
from fairseq.sequence_generator import SequenceGenerator
from fairseq.sequence_scorer import SequenceScorer

from gradinit_mt.models import narrow_search
from gradinit_mt.models.narrow_search import GROUPS, NarrowSearch, largest, narrowed


@pytest.fixture(scope="module")
def model(task):
    torch.manual_seed(1)
    options = {"encoder_layers": 1, "decoder_layers": 2, "max_source_positions": 64, "max_target_positions": 64}
    return build_model(argparse.Namespace(_name="post_ln_transformer_tiny", **options), task).eval()


@pytest.fixture
def sentences(dictionary):
    tokens = torch.randint(4, len(dictionary), (70, 6), generator=torch.Generator().manual_seed(2))
    return {"net_input": {"src_tokens": tokens, "src_lengths": torch.full((70,), 6)}}


@pytest.mark.parametrize("columns", [11, 10 * GROUPS, 24 * GROUPS + 5])
@pytest.mark.parametrize("count", [1, 10])
def test_the_largest_entries_are_those_of_topk(columns, count):
    x = torch.randn(40, columns, generator=torch.Generator().manual_seed(3))
    expected = x.topk(count)
    values, places = largest(x, count)
    assert torch.equal(values, expected.values)
    assert torch.equal(places, expected.indices)


@pytest.mark.parametrize("beam", [1, 3, 5])
@pytest.mark.parametrize(
    "options", [{}, {"min_len": 4, "len_penalty": 0.5}, {"unk_penalty": -3.0, "temperature": 1.7, "max_len_b": 5}]
)
def test_translations_and_scores_are_the_same(model, dictionary, sentences, beam, options):
    generator = SequenceGenerator([model], dictionary, beam_size=beam, **{"max_len_b": 12} | options)
    with torch.no_grad():
        expected = generator.generate([model], sentences)
        with narrowed(generator):
            assert isinstance(generator.search, NarrowSearch)
            found = generator.generate([model], sentences)
    assert type(generator.search) is BeamSearch
    for mine, theirs in zip(found, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a["tokens"], b["tokens"])
            for part in ("score", "positional_scores", "attention"):
                assert torch.allclose(a[part], b[part], atol=1e-6)


def test_hypotheses_that_are_looked_at_in_turn_give_the_same_translations(model, dictionary, sentences, monkeypatch):
    """On a CPU, with so many words that not all fit its cache at once."""
    generator = SequenceGenerator([model], dictionary, beam_size=3, max_len_b=12)
    with torch.no_grad():
        expected = generator.generate([model], sentences)
        monkeypatch.setattr(narrow_search, "ENTRIES", 50 * len(dictionary))
        with narrowed(generator):
            found = generator.generate([model], sentences)
    for mine, theirs in zip(found, expected, strict=True):
        assert [each["tokens"].tolist() for each in mine] == [each["tokens"].tolist() for each in theirs]


def test_a_scorer_of_references_stays_what_it_is(dictionary):
    """What ``fairseq-generate --score-reference`` uses: no generator, and without most of its attributes."""
    scorer = SequenceScorer(dictionary)
    before = dict(vars(scorer))
    with narrowed(scorer):
        assert vars(scorer) == before


def test_any_other_search_stays_what_it_is(model, dictionary):
    models, options = [model], {"beam_size": 3}
    for other in (
        SequenceGenerator(models, dictionary, **options, search_strategy=Sampling(dictionary)),
        SequenceGenerator(models, dictionary, **options, no_repeat_ngram_size=2),
        SequenceGenerator([model, model], dictionary, **options),
        SequenceGenerator(models, dictionary, **options, lm_model=model, lm_weight=0.1),
        SequenceGenerator(models, dictionary, **options, eos=6),
    ):
        before = other.model, other.search, other.vocab_size
        with narrowed(other):
            assert (other.model, other.search, other.vocab_size) == before


def test_an_error_leaves_the_generator_as_it_was(model, dictionary):
    generator = SequenceGenerator([model], dictionary, beam_size=3)
    before = generator.model, generator.search, generator.vocab_size
    with pytest.raises(RuntimeError, match="on purpose"), narrowed(generator):
        raise RuntimeError("on purpose")
    assert (generator.model, generator.search, generator.vocab_size) == before
