"""The criterion is fairseq's label-smoothed cross-entropy, without the logits of a whole batch."""

import argparse

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY, label_smoothed_cross_entropy
from fairseq.distributed import ModuleProxyWrapper
from fairseq.models import build_model
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from gradinit_mt.core import hvp
from gradinit_mt.criterions.projected_cross_entropy import CHUNK, smoothed_cross_entropy


@pytest.fixture
def model(task):
    torch.manual_seed(0)
    options = {"dropout": 0.0, "max_source_positions": 64, "max_target_positions": 64}
    return build_model(argparse.Namespace(_name="post_ln_transformer_tiny", **options), task)


@pytest.fixture
def sample(dictionary):
    generator = torch.Generator().manual_seed(2)
    source, target = (torch.randint(4, len(dictionary), (7, n), generator=generator) for n in (6, 9))
    for row in range(7):
        target[row, 9 - row % 4 :] = dictionary.pad()
    net_input = {"src_tokens": source, "src_lengths": None, "prev_output_tokens": target.roll(1, 1)}
    return {"net_input": net_input, "target": target, "ntokens": int(target.ne(dictionary.pad()).sum())}


@pytest.fixture
def both(task):
    """Makes ours and fairseq's criterion, with the same options."""

    def make(**options):
        options = {"sentence_avg": False, "label_smoothing": 0.1} | options
        names = ("projected_label_smoothed_cross_entropy", "label_smoothed_cross_entropy")
        return [CRITERION_REGISTRY[name](task, **options) for name in names]

    return make


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"label_smoothing": 0.0}, {"sentence_avg": True}, {"report_accuracy": True}, {"ignore_prefix_size": 2}],
)
def test_losses_sizes_logs_and_gradients_are_those_of_fairseq(both, model, sample, options, training):
    found, gradients = [], []
    for criterion in both(**options):
        model.zero_grad()
        criterion.train(training)
        loss, size, logged = criterion(model, sample)
        loss.backward()
        found.append({"loss": loss.item(), "size": size, **{name: float(value) for name, value in logged.items()}})
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    for mine, theirs in zip(*gradients, strict=True):
        assert (mine - theirs).norm() <= 1e-5 * theirs.norm() + 1e-6


@pytest.mark.parametrize("options", [{"_name": "lstm"}, {"_name": "lightconv"}, {"adaptive_softmax_cutoff": "10,20"}])
def test_a_model_without_the_projection_has_fairseqs_loss(both, task, sample, options):
    torch.manual_seed(0)
    options = {"_name": "transformer", "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0} | options
    options |= {"max_source_positions": 64, "max_target_positions": 64, "criterion": "label_smoothed_cross_entropy"}
    for side in ("encoder", "decoder"):
        options |= {f"{side}_conv_type": "lightweight", f"{side}_kernel_size_list": [3], f"{side}_glu": True}
    args = argparse.Namespace(**options, weight_softmax=True, weight_dropout=0.0)
    other = build_model(args, task).eval()
    sample["net_input"]["src_lengths"] = torch.full((7,), 6)
    ours, theirs = (criterion(other, sample)[0].item() for criterion in both())
    assert ours == theirs


def test_a_projection_with_a_bias_keeps_it(both, model, sample):
    projection = model.decoder.output_projection
    model.decoder.output_projection = torch.nn.Linear(projection.in_features, projection.out_features)
    ours, theirs = (criterion(model, sample)[0].item() for criterion in both())
    assert ours == theirs


def test_a_second_derivative_of_the_operation_is_refused():
    features, weight, targets = make_problem(5)
    loss, _ = smoothed_cross_entropy(features, weight, targets, 0.1)
    with pytest.raises(RuntimeError, match="the projected loss has no second derivative"):
        torch.autograd.grad(loss, features, create_graph=True)


@pytest.fixture
def data_parallel(model, tmp_path):
    """The model as fairseq wraps it for ``pytorch_ddp`` with ``--find-unused-parameters``, in one process."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield ModuleProxyWrapper(DistributedDataParallel(model, find_unused_parameters=True))
    torch.distributed.destroy_process_group()


def test_gradients_are_those_of_fairseq_while_ddp_looks_for_unused_parameters(both, model, data_parallel, sample):
    assert model.decoder.output_projection.weight is not model.decoder.embed_tokens.weight, "what DDP could overlook"
    gradients = []
    for criterion in both():
        data_parallel.zero_grad()
        criterion(data_parallel, sample)[0].backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(map(torch.equal, *gradients))


def test_the_logs_can_be_summed_over_processes_like_those_of_fairseq(both):
    ours, stock = both()
    assert ours.logging_outputs_can_be_summed() == stock.logging_outputs_can_be_summed() is True


def test_losses_of_single_tokens_are_those_of_fairseq(both, model, sample):
    ours, stock = (criterion(model, sample, reduce=False)[0] for criterion in both())
    assert ours.numel() == sample["target"].numel()
    assert torch.equal(ours, stock)


def test_in_float16_fairseqs_own_computation_runs(both, model, sample):
    with torch.autocast("cpu", torch.float16):
        ours, stock = (criterion(model, sample)[0] for criterion in both())
    assert torch.equal(ours, stock)


def test_second_derivatives_are_taken_of_the_logits(both, model, sample):
    """GradInit's exact Hessian-vector product, which differentiates the gradient once more."""
    products = []
    for criterion in both():
        parameters = list(model.parameters())
        direction = [torch.ones_like(p) for p in parameters]
        with hvp.twice_differentiable():
            loss = criterion(model, sample)[0]
        products.append(hvp.exact(parameters, direction, loss))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*products, strict=True))
    assert not hvp.needs_second_derivatives()


def make_problem(tokens, channels=8, vocabulary=50, kind=torch.float64):
    torch.manual_seed(3)
    features = torch.randn(tokens, channels, dtype=kind, requires_grad=True)
    weight = torch.randn(vocabulary, channels, dtype=torch.float64).requires_grad_()
    return features, weight, torch.randint(2, vocabulary, (tokens,))


@pytest.mark.parametrize("tokens", [1, CHUNK, 2 * CHUNK + 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_the_operation_equals_the_loss_of_the_logits(tokens, smoothing):
    features, weight, targets = make_problem(tokens)
    found = smoothed_cross_entropy(features, weight, targets, smoothing)
    mine = torch.autograd.grad(3 * found[0], [features, weight])
    log_probabilities = (features @ weight.t()).log_softmax(1)
    loss, nll = label_smoothed_cross_entropy.label_smoothed_nll_loss(log_probabilities, targets, smoothing)
    theirs = torch.autograd.grad(3 * loss, [features, weight])
    # the exponentials are in float32
    assert [value.item() for value in found] == pytest.approx([loss.item(), nll.item()], rel=1e-6)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(mine, theirs, strict=True))


def test_a_word_of_no_probability_has_a_finite_loss():
    """The logit of the target is so low that its probability is 0 in float32."""
    features, weight = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[500.0], [0.0], [-500.0]])
    loss, nll = smoothed_cross_entropy(features, weight, torch.tensor([2]), 0.0)
    assert loss.item() == nll.item() == 1000


def test_bfloat16_is_within_its_rounding_and_sums_in_float32():
    features, weight, targets = make_problem(700, channels=32, vocabulary=400)
    exact = smoothed_cross_entropy(features, weight, targets, 0.1)
    exact_slopes = torch.autograd.grad(exact[0], [features, weight])
    narrow = features.detach().bfloat16().requires_grad_()
    found = smoothed_cross_entropy(narrow, weight, targets, 0.1)
    assert found[0].dtype == torch.float32
    assert found[0].item() == pytest.approx(exact[0].item(), rel=2e-3)
    for mine, theirs in zip(torch.autograd.grad(found[0], [narrow, weight]), exact_slopes, strict=True):
        assert (mine - theirs).norm() < 0.01 * theirs.norm()


def test_padding_counts_nothing_wherever_it_stands():
    features, weight, targets = make_problem(600)
    targets[::7] = 1
    real = targets != 1
    padded = smoothed_cross_entropy(features, weight, targets, 0.1, padding=1)
    slopes = torch.autograd.grad(padded[0], [features, weight])
    packed = smoothed_cross_entropy(features[real], weight, targets[real], 0.1)
    expected = torch.autograd.grad(packed[0], [features, weight])
    assert padded[0].item() == packed[0].item()
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(slopes, expected, strict=True))
    assert not slopes[0][~real].any()


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.elements = max(self.elements, found.numel())
        return found


def test_no_tensor_of_all_tokens_and_words_ever_exists():
    features, weight, targets = make_problem(8 * CHUNK, channels=4, vocabulary=300)
    with Largest() as largest:
        smoothed_cross_entropy(features, weight, targets, 0.1)[0].backward()
    assert largest.elements == CHUNK * 300
