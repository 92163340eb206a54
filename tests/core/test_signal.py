"""The signal after a stack of layers: its definition in exact cases, and its loss in a whole model."""

import math

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion

from gradinit_mt.core import GradInitConfig, GradInitError, find_blocks, learn_scales
from gradinit_mt.core.signal import SignalLoss, signal
from gradinit_mt.models.post_ln_transformer import PostLNTransformerTiny, TinyConfig
from gradinit_mt.plugin.stacks import stacks_of

ALL = torch.ones(3, 4, dtype=torch.bool)


def test_tokens_that_look_alike_have_no_signal_and_tokens_without_a_mean_have_nothing_else():
    alike = torch.randn(5).expand(3, 4, 5)
    assert signal(alike, ALL).item() == pytest.approx(0, abs=1e-6)
    centred = torch.randn(3, 4, 5, dtype=torch.float64)
    centred -= centred.mean(dim=(0, 1))
    assert signal(centred, ALL).item() == pytest.approx(1, rel=1e-6)


def test_a_common_vector_takes_its_share_of_the_energy():
    """With |common|^2 as large as the mean energy around it, half of the energy is signal, at any scale."""
    states = torch.randn(3, 4, 5, dtype=torch.float64)
    states -= states.mean(dim=(0, 1))
    common = torch.randn(5, dtype=torch.float64)
    common *= (states.square().sum() / 12 / common.square().sum()).sqrt()
    assert signal(states + common, ALL).item() == pytest.approx(0.5, rel=1e-6)
    assert signal(7 * (states + common), ALL).item() == pytest.approx(0.5, rel=1e-6)


def test_padding_does_not_count():
    states, real = torch.randn(3, 4, 5), ALL.clone()
    real[2, 1:] = False
    before = signal(states, real).item()
    states[2, 1:] = 100.0
    assert signal(states, real).item() == before


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 1)])
def test_a_mask_may_be_one_that_broadcasts(shape):
    states, real = torch.randn(3, 4, 5), torch.ones(shape, dtype=torch.bool)
    real.view(-1)[-1] = False
    assert signal(states, real).item() == signal(states, real.expand(3, 4)).item() != signal(states).item()


@pytest.fixture
def model(task):
    torch.manual_seed(0)
    sizes = {"encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32, "encoder_layers": 2, "encoder_attention_heads": 2}
    cfg = TinyConfig(**sizes, share_decoder_input_output_embed=True)
    cfg.max_source_positions = cfg.max_target_positions = 32
    return PostLNTransformerTiny.build_model(cfg, task).eval()


def sample(dictionary, seed=0):
    """Four sentences of six source and five target tokens; the first source is padded on the left."""
    generator = torch.Generator().manual_seed(seed)
    source, target = (torch.randint(4, 44, (4, length), generator=generator) for length in (6, 5))
    source[0, :2] = dictionary.pad()
    target[1, 3:] = dictionary.pad()
    inputs = {
        "src_tokens": source,
        "src_lengths": source.ne(dictionary.pad()).sum(1),
        "prev_output_tokens": target.roll(1, 1),
    }
    inputs["prev_output_tokens"][1] = torch.cat([target[1, 2:3], target[1, :2], target[1, 3:]])
    return {"id": torch.arange(4), "net_input": inputs, "target": target, "ntokens": int(target.ne(1).sum())}


def test_the_loss_agrees_with_the_models_own_hidden_states(model, dictionary):
    """fairseq returns the states on request; the expected loss is computed from them, token by token."""
    batch = sample(dictionary)
    inputs = batch["net_input"]
    loss = SignalLoss(stacks_of(model))
    with torch.no_grad(), loss.watching():
        model(**inputs)
        found = loss(batch).item()
        encoded = model.encoder(inputs["src_tokens"], inputs["src_lengths"], return_all_hiddens=True)
        _, extra = model.decoder(inputs["prev_output_tokens"], encoder_out=encoded)
    expected = 0.0
    for states, tokens in (
        (encoded["encoder_states"], inputs["src_tokens"]),
        (extra["inner_states"], inputs["prev_output_tokens"]),
    ):
        shares = []
        for layer in states:
            rows = torch.stack(
                [
                    layer[time, sentence]
                    for sentence in range(4)
                    for time in range(tokens.shape[1])
                    if tokens[sentence, time] != dictionary.pad()
                ]
            ).double()
            common = rows.mean(dim=0).square().sum() * len(rows)
            shares.append(1 - (common / rows.square().sum()).item())
        logs = torch.tensor(shares).log()
        expected += (logs[0] - logs[1:].mean()).item()
    assert len(encoded["encoder_states"]) == 3, "the embeddings and two layers"
    assert found == pytest.approx(expected, rel=1e-4)
    assert expected > 0.1


@pytest.fixture
def loss_fn(task):
    criterion = LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=0.1)

    def summed(model, part):
        loss, size, _ = criterion(model, part)
        return loss, size

    return summed


def lost_on(model, batch):
    watcher = SignalLoss(stacks_of(model))
    with torch.no_grad(), watcher.watching():
        model(**batch["net_input"])
        return watcher(batch).item()


def test_the_signal_is_added_per_token(model, dictionary, loss_fn):
    """Summed loss + weight * tokens * signal lost, so that the mean over parts gives both the same weight."""
    batch = sample(dictionary)
    with torch.no_grad():
        plain, size = loss_fn(model, batch)
        total, total_size = SignalLoss(stacks_of(model)).added_to(loss_fn, 0.3)(model, batch)
    assert total_size == size == batch["ntokens"]
    assert total.item() == pytest.approx(plain.item() + 0.3 * size * lost_on(model, batch), rel=1e-5)


def test_tokens_that_look_alike_to_the_last_bit_leave_a_finite_loss(model, dictionary):
    batch = sample(dictionary)
    batch["net_input"] = {name: value[:1, :1] for name, value in batch["net_input"].items() if value.dim() == 2}
    batch["net_input"]["src_tokens"] = batch["net_input"]["prev_output_tokens"]
    batch["net_input"]["src_lengths"] = torch.tensor([1])
    assert math.isfinite(lost_on(model, batch)), "a single token has no signal at all"


@pytest.mark.parametrize("missing", ["layers", "decoder"])
def test_a_model_without_layers_is_an_error(missing):
    model = torch.nn.Module()
    model.encoder = torch.nn.Module()
    model.encoder.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    if missing == "layers":
        model.decoder = torch.nn.LSTM(2, 2)
    advice = "--gradinit-form paper, or --gradinit-form signal with --gradinit-signal-weight 0"
    with pytest.raises(GradInitError, match=f"the decoder of Module has no list of layers, .*: give {advice}"):
        SignalLoss(stacks_of(model))


def test_learning_with_the_signal_keeps_more_of_it_after_the_first_steps(model, dictionary, loss_fn):
    """Both runs see the same batches; only one has the signal in its objective."""
    config = GradInitConfig(
        "adam", eta=1e-2, gamma=float("inf"), look_ahead=2, update="descent", tau=0.1, iterations=12
    )
    theta0 = {name: value.clone() for name, value in model.state_dict().items()}
    lost = {}
    for weight in (0.0, 1.0):
        model.load_state_dict(theta0)
        both = SignalLoss(stacks_of(model)).added_to(loss_fn, weight)
        pairs = (
            ([sample(dictionary, k), sample(dictionary, k + 100)], [sample(dictionary, k + 200)]) for k in range(12)
        )
        state = learn_scales(model, loss_fn, pairs, config, ahead_loss_fn=both)
        lost[weight] = after_first_steps(model, loss_fn, dictionary)
    assert lost[1.0] < lost[0.0] / 2
    ahead = [entry["ahead"] for entry in state.history]
    assert sum(ahead[-3:]) < sum(ahead[:3]) - 1.5
    scales = dict(zip((block.name for block in find_blocks(model)), state.scales.tolist(), strict=True))
    branches = [scale for name, scale in scales.items() if name.endswith(("v_proj.weight", "out_proj.weight"))]
    assert max(branches) < 1, "residual branches add less"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def after_first_steps(model, loss_fn, dictionary):
    """The signal lost on a new batch after two steps of PyTorch's Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.98))
    for seed in (300, 301):
        optimizer.zero_grad()
        loss, size = loss_fn(model, sample(dictionary, seed))
        (loss / size).backward()
        optimizer.step()
    return lost_on(model, sample(dictionary, 302))
