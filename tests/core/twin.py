"""GradInit once more, slow and plain: m is a leaf of the graph and every derivative is autograd's."""

import torch
from torch.func import functional_call


class _Call(torch.nn.Module):
    """Lets a loss function call a network with given parameters."""

    def __init__(self, model, parameters):
        super().__init__()
        self.call = lambda inputs: functional_call(model, parameters, (inputs,))

    def forward(self, inputs):
        return self.call(inputs)


def learn_slowly(model, loss_fn, pairs, config):
    """The scales after ``config.iterations`` iterations, and the kinds of step taken."""
    theta0 = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    scales = {name: torch.ones((), dtype=torch.float64, requires_grad=True) for name in theta0}
    make = torch.optim.Adam
    optimizers = {k: make(scales.values(), lr=config.tau, betas=config.betas) for k in ("objective", "constraint")}
    kinds = []
    for _, ([first], [second]) in zip(range(config.iterations), pairs, strict=False):
        theta = {name: theta0[name] * scales[name].to(theta0[name].dtype) for name in theta0}
        loss, size = loss_fn(_Call(model, theta), first)
        g = dict(zip(theta, torch.autograd.grad(loss / size, list(theta.values()), create_graph=True), strict=True))
        if config.step == "adam":
            norm = sum(t.abs().sum() for t in g.values())
        else:
            norm = sum((t**2).sum() for t in g.values()).sqrt()
        if norm > config.gamma:
            kind, target = "constraint", norm
        else:
            step = {n: (t.sign() if config.step == "adam" else t).detach() for n, t in g.items()}
            ahead, size = loss_fn(_Call(model, {n: theta[n] - config.eta * step[n] for n in theta}), second)
            kind, target = "objective", ahead / size
        kinds.append(kind)
        h = torch.autograd.grad(target, list(scales.values()))
        for scale, derivative, name in zip(scales.values(), h, theta0, strict=True):
            scale.grad = derivative if bool(theta0[name].any()) else torch.zeros_like(derivative)
        optimizers[kind].step()
        with torch.no_grad():
            for scale in scales.values():
                scale.clamp_(config.lower_bound, config.upper_bound)
    return {name: scale.item() for name, scale in scales.items()}, kinds
