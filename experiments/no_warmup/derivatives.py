"""How far derivatives by scales stand out from noise, and which parameters lower the loss in the first step."""

import math
from functools import partial

import torch
from bench import STEPS, TOKENS, Bench, mean_over
from torch import Tensor

from gradinit_mt.common.tables import markdown, spread

LAST = "decoder.layers.{}.final_layer_norm"
CHANCE = 100_000  # columns of pure noise


def noise_table(bench: Bench, repetitions: int) -> str:
    """Signal against noise of the derivatives by log m at m = 1, over repetitions with new batches, as Markdown."""
    in_layers = torch.tensor([".layers." in name for name in bench.names])
    kinds = {
        "loss after 1 step": (1, bench.loss),
        f"loss after {STEPS} steps": (STEPS, bench.loss),
        f"signal lost after {STEPS} steps": (STEPS, bench.signal_lost),
    }
    columns = ["derivative of", "layers: median of mean / deviation", "sign agrees with the mean"]
    columns += ["largest mean in a layer", "largest mean outside"]
    ratio, agrees = _against_noise(torch.randn(repetitions, CHANCE))
    rows = [["nothing: pure noise", f"{ratio:.2f}", f"{agrees:.0%}", "", ""]]
    for title, (steps, function) in kinds.items():
        draws = []
        for number in range(repetitions):
            model = bench.model()
            first = [p.detach().clone() for p in model.parameters()]
            bench.walk(model, steps, bench.batches(TOKENS // steps, 10 + number))
            sample = next(bench.batches(TOKENS, 100 + number))
            derivative = torch.autograd.grad(function(model, sample), list(model.parameters()), materialize_grads=True)
            draws.append(torch.stack([(a * b).sum() for a, b in zip(first, derivative, strict=True)]))
        h = torch.stack(draws)
        learnable = h.abs().sum(0) > 0
        mean, layers = h.mean(0), in_layers & learnable
        ratio, agrees = _against_noise(h[:, layers])
        largest = (f"{mean[there].abs().max():.4f}" for there in (layers, ~in_layers & learnable))
        rows.append([title, f"{ratio:.2f}", f"{agrees:.0%}", *largest])
    return markdown(columns, rows)


def _against_noise(draws: Tensor) -> tuple[float, float]:
    """Over columns: the median of mean / deviation, and how often a draw has the sign of the mean."""
    mean = draws.mean(0)
    ratio = (mean.abs() / draws.std(0)).median()
    agrees = (draws.sign() == mean.sign()).float().mean()
    return ratio.item(), agrees.item()


def drop_table(bench: Bench, samples: list[dict], repetitions: int) -> str:
    """The drop of the loss by Adam's first step, a sign step, if only some of the parameters move, as Markdown."""
    groups = {
        "all parameters": lambda name: True,
        "embeddings and softmax": lambda name: "embed" in name,
        "the layers": lambda name: ".layers." in name,
        "the last LayerNorm alone": lambda name: name.startswith(LAST.format(len(bench.theta0.decoder.layers) - 1)),
    }
    drops: dict[str, list[float]] = {title: [] for title in groups}
    for number in range(repetitions):
        model = bench.model()
        before = mean_over(partial(bench.loss, model), samples)
        bench.loss(model, next(bench.batches(TOKENS, 200 + number))).backward()
        for title, moves in groups.items():
            moved = bench.model()
            with torch.no_grad():
                for (name, p), given in zip(moved.named_parameters(), model.parameters(), strict=True):
                    if moves(name) and given.grad is not None:
                        p.sub_(bench.lr * given.grad.sign())
            after = mean_over(partial(bench.loss, moved), samples)
            drops[title].append((before - after) / math.log(2))
    columns = ["what moves", "loss taken away, bits per token"]
    return markdown(columns, [[title, spread(values, 3)] for title, values in drops.items()])
