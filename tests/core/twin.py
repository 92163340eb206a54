"""GradInit again, slow and plain: m is a leaf of the graph and autograd computes every derivative."""

import math
from functools import partial

import torch
from torch.func import functional_call


class _Call(torch.nn.Module):
    """Lets a loss function call a network with given parameters."""

    def __init__(self, model, parameters):
        super().__init__()
        self.call = lambda inputs: functional_call(model, parameters, (inputs,))

    def forward(self, inputs):
        return self.call(inputs)


def learn_slowly(model, loss_fn, pairs, config, ahead_loss_fn=None):
    """The scales after ``config.iterations`` iterations, and the kinds of step taken."""
    theta0 = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    by_log = config.update == "descent"
    # what is learned: the scales, or their logarithms
    bounds = {name: bounds_of(name, tensor.dim(), config) for name, tensor in theta0.items()}
    starts = {name: min(1.0, upper) for name, (_, upper) in bounds.items()}
    starts = {name: torch.tensor(math.log(m) if by_log else m, dtype=torch.float64) for name, m in starts.items()}
    learned = {name: start.requires_grad_() for name, start in starts.items()}
    make = torch.optim.SGD if by_log else partial(torch.optim.Adam, betas=config.betas)
    optimizers = {kind: make(learned.values(), lr=config.tau) for kind in ("objective", "constraint")}
    kinds = []
    for _, ([first, *later], [second]) in zip(range(config.iterations), pairs, strict=False):
        scales = {name: t.exp() for name, t in learned.items()} if by_log else learned
        theta = {name: theta0[name] * scales[name].to(theta0[name].dtype) for name in theta0}
        loss, size = loss_fn(_Call(model, theta), first)
        g = dict(zip(theta, torch.autograd.grad(loss / size, list(theta.values()), create_graph=True), strict=True))
        if config.step == "adam":
            norm = sum(t.abs().sum() for t in g.values())
        else:
            norm = sum((t**2).sum() for t in g.values()).sqrt()
        if norm > config.gamma:
            kind, target = "constraint", norm.log() if by_log else norm
        else:
            moved = walk(model, loss_fn, [first, *later], theta, g, config)
            ahead, size = (ahead_loss_fn or loss_fn)(_Call(model, {n: theta[n] - moved[n] for n in theta}), second)
            kind, target = "objective", ahead / size
        kinds.append(kind)
        h = torch.autograd.grad(target, list(learned.values()))
        for variable, derivative, name in zip(learned.values(), h, theta0, strict=True):
            derivative = derivative.clamp(-1, 1) if by_log else derivative
            variable.grad = derivative if bool(theta0[name].any()) else torch.zeros_like(derivative)
        optimizers[kind].step()
        with torch.no_grad():
            for name, variable in learned.items():
                variable.clamp_(*map(math.log, bounds[name])) if by_log else variable.clamp_(*bounds[name])
    return {name: (t.exp() if by_log else t).item() for name, t in learned.items()}, kinds


def bounds_of(name, dimensions, config):
    """The lowest and highest scale of a tensor."""
    if dimensions <= 1:
        return config.vector_lower_bound, config.vector_upper_bound
    if name.startswith("embedding."):
        return config.lower_bound, min(config.upper_bound, config.embedding_upper_bound)
    return config.lower_bound, config.upper_bound


def walk(model, loss_fn, parts, theta, g, config):
    """How far theta moves over the look-ahead, as constants: by PyTorch's own optimizers, one part per step."""
    if len(parts) == 1:
        return {n: config.eta * (t.sign() if config.step == "adam" else t).detach() for n, t in g.items()}
    copies = {name: torch.nn.Parameter(t.detach().clone()) for name, t in theta.items()}
    if config.step == "adam":
        optimizer = torch.optim.Adam(copies.values(), lr=config.eta, betas=config.step_betas)
    else:
        optimizer = torch.optim.SGD(copies.values(), lr=config.eta, momentum=config.step_momentum)
    for part in parts:
        loss, size = loss_fn(_Call(model, copies), part)
        optimizer.zero_grad()
        (loss / size).backward()
        optimizer.step()
    return {name: theta[name].detach() - copies[name].detach() for name in theta}
