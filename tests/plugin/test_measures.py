"""What the watch measures, against independent formulas and plain slow computations."""

import argparse
import itertools
import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from fairseq.data import LanguagePairDataset
from fairseq.models import build_model

from gradinit_mt.plugin.stacks import stacks_of
from gradinit_mt.plugin.watch import measures

SIZES = {"encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24, "encoder_attention_heads": 2, "encoder_layers": 2}
SIZES |= {"decoder_layers": 2, "share_decoder_input_output_embed": True, "dropout": 0.3}
SIZES |= {"max_source_positions": 64, "max_target_positions": 64}


@pytest.fixture
def dataset(dictionary):
    """Twelve pairs of sentences of 3 to 9 tokens, some words more frequent than others."""
    generator = torch.Generator().manual_seed(3)

    def sentence():
        words = torch.rand(int(torch.randint(2, 9, (), generator=generator)), generator=generator).square()
        return torch.cat([4 + (40 * words).long(), torch.tensor([dictionary.eos()])])

    sides = [[sentence() for _ in range(12)] for _ in range(2)]
    sizes = [[len(tokens) for tokens in side] for side in sides]
    return LanguagePairDataset(sides[0], sizes[0], dictionary, sides[1], sizes[1], dictionary)


@pytest.fixture(params=["post_ln_transformer", "transformer"])
def model(request, task):
    torch.manual_seed(0)
    return build_model(argparse.Namespace(_name=request.param, **SIZES), task)


@pytest.fixture
def criterion(dictionary):
    """The summed cross-entropy, in the model's precision."""

    def losses(model, sample):
        logits, _ = model(**sample["net_input"])
        target = sample["target"].flatten()
        loss = F.cross_entropy(logits.flatten(0, 1), target, ignore_index=dictionary.pad(), reduction="sum")
        return loss, sample["ntokens"], {}

    return losses


def entropy(sentences) -> float:
    """Of the tokens' frequencies, in bits."""
    counts = Counter(token for sentence in sentences for token in sentence.tolist())
    shares = [count / counts.total() for count in counts.values()]
    return -sum(share * math.log2(share) for share in shares)


def test_the_entropy_of_words_is_that_of_a_plain_count(dataset, monkeypatch):
    assert measures.word_entropy(dataset) == pytest.approx(entropy(dataset.tgt), rel=1e-12)
    monkeypatch.setattr(measures, "COUNTED", 3)
    some = [dataset.tgt[index] for index in (0, 6, 11)]
    assert measures.word_entropy(dataset) == pytest.approx(entropy(some), rel=1e-12)


def test_equally_frequent_words_have_the_logarithm_of_their_number(dictionary):
    sentences = torch.arange(32).view(8, 4)
    words = type("Words", (), {"tgt": sentences, "tgt_dict": dictionary, "__len__": lambda self: 8})()
    assert measures.word_entropy(words) == pytest.approx(5, rel=1e-12)


@pytest.mark.parametrize(("size", "most"), [(1, 64), (7, 7), (64, 65), (65, 64), (1000, 64), (3, 2)])
def test_a_spread_is_even_and_has_both_ends(size, most):
    found = measures.evenly_spaced(size, most)
    assert len(found) == min(size, most)
    assert (found[0], found[-1]) == (0, size - 1)
    gaps = [after - before for before, after in itertools.pairwise(found)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_the_fixed_batch_is_as_large_as_its_limits_allow_and_always_the_same(dataset):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    cpu = torch.device("cpu")
    whole = measures.fixed_batch(dataset, 100, None, cpu)
    assert sorted(whole["id"].tolist()) == list(range(12))
    short = measures.fixed_batch(dataset, 6, None, cpu)
    assert sorted(short["id"].tolist()) == [
        i for i in range(12) if max(dataset.src_sizes[i], dataset.tgt_sizes[i]) <= 6
    ]
    for tokens in (16, 24, 40):
        sample = measures.fixed_batch(dataset, 100, tokens, cpu)
        longest = max(sample["net_input"]["src_tokens"].shape[1], sample["target"].shape[1])
        assert len(sample["id"]) * longest <= tokens
        assert torch.equal(sample["target"], measures.fixed_batch(dataset, 100, tokens, cpu)["target"])
    assert measures.fixed_batch(dataset, 100, 7, cpu) is None, "a single sentence has no other source"
    assert measures.fixed_batch(dataset, 2, None, cpu) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_gradient_norms_are_those_of_a_sum_over_names(model, dataset, criterion):
    """Each parameter counts once, tied ones among the embeddings; those without a gradient count nothing."""
    criterion(model.train(), dataset.collater([dataset[i] for i in range(4)]))[0].backward()
    model.encoder.layers[1].fc1.weight.grad = None
    squares = Counter()
    for name, parameter in model.named_parameters():
        stack = "embeddings" if "embed" in name or "output_projection" in name else name.split(".")[0]
        if parameter.grad is not None:
            squares[stack] += float(parameter.grad.double().square().sum())
    found = measures.gradient_norms(model)
    assert set(found) == {"encoder", "decoder", "embeddings"}
    for stack, norm in found.items():
        assert float(norm) == pytest.approx(math.sqrt(squares[stack]), rel=1e-5)
        assert float(norm) > 0


def test_norms_of_half_precision_gradients_do_not_overflow_and_layers_that_were_dropped_have_none():
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(100, 100, bias=False), "decoder": torch.nn.Linear(2, 2)})
    model.half().encoder.weight.grad = torch.full((100, 100), 2000.0, dtype=torch.float16)
    norms = measures.gradient_norms(model)
    assert float(norms["encoder"]) == pytest.approx(2e5, rel=1e-4)
    assert float(norms["decoder"]) == 0


def noting(notes):
    """A hook that adds a layer's output, or the states given to it, to the notes, as [tokens, channels]."""

    def hook(layer, given, returned=None):
        states = given if returned is None else returned
        notes.append((states[0] if isinstance(states, tuple) else states).flatten(0, -2))

    return hook


def slow_use(model, criterion, dataset, order) -> tuple[float, dict[str, list[float]]]:
    """Source gain and signals, one sentence at a time, with neither padding nor the code of the measures."""
    notes = {"encoder": [[], [], []], "decoder": [[], [], []]}
    for stack, (before, *after) in notes.items():
        layers = getattr(model.eval(), stack).layers
        layers[0].register_forward_pre_hook(noting(before))
        for index, noted in enumerate(after):
            layers[index].register_forward_hook(noting(noted))
    rise, tokens = 0.0, 0
    with torch.no_grad():
        for index, other in zip(order, [order[-1], *order[:-1]], strict=True):
            rise -= float(criterion(model, dataset.collater([dataset[index]]))[0])
            tokens += len(dataset[index]["target"])
            kept = {stack: [list(noted) for noted in places] for stack, places in notes.items()}
            rise += float(
                criterion(model, dataset.collater([{**dataset[index], "source": dataset[other]["source"]}]))[0]
            )
            for stack, places in notes.items():
                for noted, own in zip(places, kept[stack], strict=True):
                    noted[:] = own
    return rise / tokens / math.log(2), {stack: [share(noted) for noted in places] for stack, places in notes.items()}


def share(noted) -> float:
    """Of the energy of all states, the part that is not in their mean."""
    x = torch.cat(noted)
    return float((x - x.mean(dim=0)).square().sum() / x.square().sum())


def test_source_gain_and_signals_are_those_of_sentences_one_by_one(model, criterion, dataset):
    model.double()
    sample = measures.fixed_batch(dataset, 100, None, torch.device("cpu"))
    found = measures.measured(
        model, criterion, sample, dict(zip(("encoder", "decoder"), stacks_of(model), strict=True))
    )
    gain, signals = slow_use(model, criterion, dataset, sample["id"].tolist())
    assert found.source_gain == pytest.approx(gain, rel=1e-6)
    assert abs(gain) > 1e-5
    for stack, shares in signals.items():
        assert found.signals[stack] == pytest.approx(shares, rel=1e-5)
        assert len(set(shares)) == 3


def test_without_sentences_nothing_is_measured(model, criterion):
    found = measures.measured(model, criterion, None, {})
    assert math.isnan(found.source_gain)
    assert found.signals == {}


@pytest.mark.parametrize("failing", [False, True])
def test_measuring_leaves_modes_and_random_numbers_as_they_were(model, criterion, dataset, failing):
    def broken(model, sample):
        torch.rand(1)
        raise KeyboardInterrupt

    model.train()
    model.decoder.eval()
    modes = [module.training for module in model.modules()]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    sample = measures.fixed_batch(dataset, 100, None, torch.device("cpu"))
    if failing:
        with pytest.raises(KeyboardInterrupt):
            measures.measured(model, broken, sample, {})
    else:
        measures.measured(model, criterion, sample, {})
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
