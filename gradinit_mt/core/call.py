"""GradInit in one call, for any model, loss and batches of PyTorch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gradinit_mt.core.batches import overlapping_halves, seeded, shared_out
from gradinit_mt.core.forms import settings_for
from gradinit_mt.core.learn import learn_scales
from gradinit_mt.core.look_ahead import FirstSteps
from gradinit_mt.core.signal import SignalLoss, Stack, find_stacks
from gradinit_mt.core.state import Report, State


def gradinit(
    model: nn.Module,
    loss_fn: Callable[[nn.Module, Any], Tensor | tuple[Tensor, float]],
    batches: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    form: str = "signal",
    stacks: Sequence[Stack] | None = None,
    batch_dim: int = 0,
    seed: int = 0,
    all_reduce: Callable[[Tensor], Any] | None = None,
    state: State | None = None,
    on_iteration: Callable[[State], None] | None = None,
    **settings: Any,
) -> Report:
    """Rescales the tensors of a new model so that ``optimizer`` trains it from its first update at its full rate.

    Call it once, after the optimizer is made and before its first step; then train without warmup. Dropout is switched
    off while the scales are learned, and the modes of all modules are put back.

    Args:
        model: with its initial parameters; left with m * theta0, or as it was if anything is raised.
        loss_fn: ``(model, batch) -> loss``, the mean over the batch's examples; or ``(sum, size)``, where sequences
            differ in length: the summed loss and the number of tokens.
        batches: each a tensor, or tuples, lists and dicts of tensors, with the examples along ``batch_dim``. Every
            iteration uses one; when they end they are taken again from the start.
        optimizer: Adam, AdamW or SGD, at the learning rate of the first update. It is read, never stepped.
        form: ``signal``, the default form, or ``paper``, as published.
        stacks: the model's stacks of layers, whose signal is kept; None finds those of ``nn.TransformerEncoderLayer``
            and ``nn.TransformerDecoderLayer``. With ``form="paper"`` or ``signal_weight=0`` none is needed.
        batch_dim: the dimension of the examples.
        seed: of the sentences' order within each batch.
        all_reduce, state, on_iteration: see ``learn_scales``.
        settings: of ``GradInitConfig``, in place of the form's: ``iterations=200``, ``step="adam"`` for an optimizer
            whose first steps are not known.

    Returns:
        What was learned: ``names``, and ``state`` with scales, history and trajectory.

    Raises:
        ValueError: a setting is out of its range, the optimizer has taken steps, does not hold the model's trainable
            tensors or is not known, its groups differ in their rates, or no stack of layers is found.
        GradInitError: see ``learn_scales``.
    """
    config = settings_for(FirstSteps.of(optimizer), _rate(model, optimizer), form, **settings)

    def summed(module: nn.Module, part: Any) -> tuple[Tensor, float]:
        loss = loss_fn(module, part)
        if isinstance(loss, Tensor):
            size = _size(part, batch_dim)
            return loss * size, size
        return loss

    ahead = None
    if config.signal_weight:
        ahead = SignalLoss(find_stacks(model) if stacks is None else stacks).added_to(summed, config.signal_weight)
    done = 0 if state is None else state.iteration
    with _without_dropout(model):
        return learn_scales(
            model,
            summed,
            _pairs(batches, config.look_ahead, batch_dim, seed, done),
            config,
            ahead_loss_fn=ahead,
            all_reduce=all_reduce,
            state=state,
            on_iteration=on_iteration,
        )


def _rate(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """The learning rate, once the optimizer is known to be new and to train this model."""
    if optimizer.state:
        raise ValueError("the optimizer has taken steps: GradInit is for a new model, call it before the first one")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missing:
        raise ValueError(f"the optimizer does not hold {missing[0]}: give it all trainable tensors, or freeze that one")
    rates = sorted({float(group["lr"]) for group in optimizer.param_groups})
    if len(rates) > 1:
        raise ValueError(
            f"the optimizer's groups have learning rates {rates}, expected one: GradInit looks ahead at one"
        )
    return rates[0]


def _pairs(batches: Iterable[Any], steps: int, dim: int, seed: int, done: int) -> Iterator[tuple[list, list]]:
    """S, shared out over the steps, and S~, of every batch from number ``done`` on."""
    for number, batch in enumerate(_endless(batches)):
        if number >= done:
            s, s_tilde = overlapping_halves(_size(batch, dim), seeded(seed, number))
            yield [_taken(batch, share, dim) for share in shared_out(s, steps)], [_taken(batch, s_tilde, dim)]


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        batch = None
        for batch in batches:
            yield batch
        if batch is None:
            return


def _size(batch: Any, dim: int) -> int:
    """How many examples there are."""
    if isinstance(batch, Tensor):
        return batch.shape[dim]
    members = list(batch.values()) if isinstance(batch, dict) else batch
    if isinstance(members, list | tuple) and members:
        return _size(members[0], dim)
    raise ValueError(f"a batch is a {type(batch).__name__}, expected a tensor, or tuples, lists and dicts of tensors")


def _taken(batch: Any, members: list[int], dim: int) -> Any:
    """These examples of a batch."""
    if isinstance(batch, Tensor):
        return batch.index_select(dim, torch.tensor(members, device=batch.device))
    if isinstance(batch, dict):
        return {name: _taken(value, members, dim) for name, value in batch.items()}
    taken = [_taken(value, members, dim) for value in batch]
    return type(batch)(*taken) if hasattr(batch, "_fields") else type(batch)(taken)


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """All modules in evaluation mode, but for those with batch statistics."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for module, _ in modes:
        if isinstance(module, _BatchNorm):
            module.train()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
