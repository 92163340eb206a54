"""Steps at fixed shapes compute what fairseq's do; graphs themselves need a GPU."""

import argparse
from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.models import build_model

import gradinit_mt
from gradinit_mt.core import GradInitError
from gradinit_mt.plugin.capturing import captured_steps, is_inspected, require_capturable

gradinit_mt.register_with_fairseq()

SIZES = {"dropout": 0.0, "max_source_positions": 64, "max_target_positions": 64}
OPTIMIZER = SimpleNamespace(backward=torch.Tensor.backward)
NEEDED = "needs --criterion projected_label_smoothed_cross_entropy without --report-accuracy"


def config(**changes):
    plain = {"fp16": False, "bf16": False, "amp": False, "left_pad_source": True, "left_pad_target": False}
    return SimpleNamespace(**plain | {"capture_steps": "on", "distributed_world_size": 1} | changes)


@pytest.fixture
def model(task):
    torch.manual_seed(0)
    return build_model(argparse.Namespace(_name="post_ln_transformer_tiny", **SIZES), task).train()


@pytest.fixture
def make_criterion(task):
    def make(name="projected_label_smoothed_cross_entropy", **options):
        return CRITERION_REGISTRY[name](task, **{"sentence_avg": False, "label_smoothing": 0.1} | options)

    return make


def sample(dictionary, sentences, source, target):
    """A batch whose sentences have different lengths, padded as fairseq pads."""
    inputs = {"src_tokens": torch.randint(4, 40, (sentences, source)), "src_lengths": torch.full((sentences,), source)}
    output = torch.randint(4, 40, (sentences, target))
    for row in range(sentences):
        inputs["src_tokens"][row, : row % 3] = dictionary.pad()
        inputs["src_lengths"][row] -= row % 3
        output[row, target - row % 4 :] = dictionary.pad()
    inputs["prev_output_tokens"] = output.roll(1, 1)
    inputs["prev_output_tokens"][:, 0] = dictionary.eos()
    return {"net_input": inputs, "target": output, "ntokens": int(output.ne(dictionary.pad()).sum())}


def gradients_of(model):
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_losses_counts_and_gradients_are_those_of_the_batch_itself(model, make_criterion, dictionary, sentence_avg):
    criterion = make_criterion(sentence_avg=sentence_avg)
    steps = captured_steps(config(), model, criterion)
    for shape in [(7, 6, 9), (3, 5, 11), (9, 8, 8), (5, 6, 10)]:  # three of one fixed shape, and another one
        batch = sample(dictionary, *shape)
        model.zero_grad()
        loss, size, outputs = criterion(model, batch)
        loss.backward()
        expected = gradients_of(model)
        model.zero_grad()
        found = steps.step(batch, model, criterion, OPTIMIZER)
        assert found[0].item() == pytest.approx(loss.item(), rel=1e-6)
        assert found[1] == size
        assert {name: float(value) for name, value in found[2].items()} == pytest.approx(
            {name: float(value) for name, value in outputs.items()}, rel=1e-6
        )
        for name, gradient in gradients_of(model).items():
            assert torch.allclose(gradient, expected[name], rtol=1e-4, atol=1e-5), name


def test_the_gradients_of_several_batches_are_summed_until_they_are_removed(model, make_criterion, dictionary):
    criterion = make_criterion()
    steps = captured_steps(config(), model, criterion)
    batches = [sample(dictionary, 7, 6, 9), sample(dictionary, 4, 7, 5)]

    def total(*given):
        model.zero_grad()
        for batch in given:
            steps.step(batch, model, criterion, OPTIMIZER)
        return gradients_of(model)

    both, first, second = total(*batches), total(batches[0]), total(batches[1])
    assert all(torch.allclose(both[name], first[name] + second[name], atol=1e-4) for name in both)
    assert any((first[name] != second[name]).any() for name in both)


def test_a_model_with_hooks_is_inspected(model):
    assert not is_inspected(model)
    model.register_forward_hook(lambda *_: None)
    assert is_inspected(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amp": True}, "--capture-steps on does not work with --amp: use --precision bfloat16 instead"),
        ({"left_pad_target": True}, "targets padded on the right: drop --left-pad-target"),
        ({"distributed_world_size": 2}, "for a single process, not for 2: use auto or off"),
    ],
)
def test_options_that_exclude_it_are_named_before_anything_is_loaded(model, make_criterion, changes, message):
    require_capturable(config())
    with pytest.raises(GradInitError, match=message):
        require_capturable(config(**changes))
    require_capturable(config(**changes | {"capture_steps": "auto"}))
    assert captured_steps(config(**changes | {"capture_steps": "auto"}), model, make_criterion()) is None


@pytest.mark.parametrize("choice", ["off", "auto"])
def test_it_is_never_on_without_a_gpu_unless_asked_for(model, make_criterion, choice):
    assert captured_steps(config(capture_steps=choice), model, make_criterion()) is None


def test_other_models_and_criterions_are_refused(task, model, make_criterion):
    other = build_model(argparse.Namespace(_name="transformer", decoder_layers=1, encoder_layers=1, **SIZES), task)
    with pytest.raises(GradInitError, match="for post_ln_transformer models, not TransformerModel"):
        require_capturable(config(), other, make_criterion())
    for criterion in (make_criterion("label_smoothed_cross_entropy"), make_criterion(report_accuracy=True)):
        with pytest.raises(GradInitError, match=NEEDED):
            require_capturable(config(), model, criterion)
