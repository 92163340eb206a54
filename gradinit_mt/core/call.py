"""GradInit in one call, for any model, loss and batches of PyTorch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeGuard

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel

from gradinit_mt.core.batches import overlapping_halves, seeded, shared_out
from gradinit_mt.core.blocks import embedding_rms, find_blocks
from gradinit_mt.core.config import GradInitConfig
from gradinit_mt.core.forms import DEFAULT_FORM, FORMS, settings_for
from gradinit_mt.core.learn import learn_scales
from gradinit_mt.core.look_ahead import known_step, step_settings
from gradinit_mt.core.signal import SignalLoss, Stack, find_stacks
from gradinit_mt.core.starts import branches
from gradinit_mt.core.state import State


@dataclass(frozen=True)
class Report:
    """What ``gradinit`` learned with the settings ``config``."""

    config: GradInitConfig
    scales: dict[str, float]  # of each trainable tensor, by its name in the model
    state: State  # history and trajectory


def gradinit(
    model: nn.Module,
    loss_fn: Callable[[nn.Module, Any], Tensor | tuple[Tensor, float]],
    batches: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    *,
    form: str = DEFAULT_FORM,
    stacks: Sequence[Stack] | None = None,
    batch_dim: int = 0,
    seed: int = 0,
    all_reduce: Callable[[Tensor], Any] | None = None,
    state: State | None = None,
    on_iteration: Callable[[State], None] | None = None,
    **settings: Any,
) -> Report:
    """Rescales the tensors of a new model so that ``optimizer`` can train it at its full rate from the first update.

    Call it once, after the optimizer is made and before its first step; then train without warmup. While the scales are
    learned the model is in evaluation mode, without dropout, except layers that normalize by the statistics of a batch;
    afterwards all modules return to their modes.

    Args:
        model: holds its initial parameters. Afterwards it holds m * theta0, or is unchanged if anything is raised.
        loss_fn: ``(model, batch) -> loss``, the mean over the batch's examples; or ``(sum, size)`` if sequences
            differ in length: the summed loss and the number of tokens.
        batches: each a tensor, or tuples, lists and dicts of tensors, with the examples along ``batch_dim``. None is
            passed on. Every iteration uses one batch; after the last one they start over. Two thirds of a batch are
            divided among the steps of the look-ahead: with batch normalization, each step needs two examples.
        optimizer: Adam, AdamW or SGD, at the learning rate of the first update. It is read, never stepped.
        form: a name in ``forms.FORMS``: ``branches``, the default, ``signal``, which starts from scales of 1, or
            ``paper``, as published.
        stacks: the model's stacks of layers whose signal is kept; None finds those of ``nn.TransformerEncoderLayer``
            and ``nn.TransformerDecoderLayer``. Not needed with ``form="paper"``, or ``signal`` and ``signal_weight=0``.
        batch_dim: the dimension of the examples.
        seed: determines the order of the sentences within each batch.
        all_reduce, on_iteration: see ``learn_scales``. ``DistributedDataParallel`` over several processes needs
            ``all_reduce=torch.distributed.all_reduce``.
        state: that of an interrupted call, which ``on_iteration`` is given; None starts where the form does.
        settings: settings of ``GradInitConfig`` that override the form's, such as ``iterations=200``, or
            ``step="adam"`` for an optimizer whose first steps are not known.

    Raises:
        ValueError: a setting is out of its range, there is no such form, the optimizer's state shows that it has taken
            steps, it lacks a trainable tensor of the model, maximizes or is not known, its groups differ in their
            steps, no stack of layers is found or one is not called from its first layer on, ``loss_fn`` returns
            something else, a batch holds something else or tensors of different numbers of examples, the processes of
            ``DistributedDataParallel`` would learn different scales or lose their synchronization, or the model is
            sharded.
        GradInitError: see ``learn_scales``.
    """
    _require_whole(model, all_reduce)
    steps = step_settings(optimizer, known_step(optimizer))
    blocks = find_blocks(model)
    config = settings_for(steps, _rate(model, optimizer), form, embedding_rms=embedding_rms(blocks), **settings)

    def summed(module: nn.Module, part: Any) -> tuple[Tensor, float]:
        loss = loss_fn(module, part)
        if _is_scalar(loss):
            size = _size(part, batch_dim)
            return loss * size, size
        if isinstance(loss, tuple | list) and len(loss) == 2 and _is_scalar(loss[0]) and _is_size(loss[1]):
            return loss[0], loss[1]
        kind = f"({', '.join(map(_kind, loss))})" if isinstance(loss, tuple | list) else _kind(loss)
        raise ValueError(
            f"loss_fn returns a {kind}, expected the mean loss, a tensor without dimensions, or a tuple of the summed "
            "loss and the number of tokens"
        )

    from_branches, weight = FORMS[form].from_branches, config.signal_weight
    kept = _checked_stacks(model, stacks) if weight or from_branches else []
    ahead = SignalLoss(kept).added_to(summed, weight) if weight else None
    if state is None and from_branches:
        state = State.starting(branches(blocks, kept))
    done = 0 if state is None else state.iteration
    pairs = _pairs(batches, config.look_ahead, batch_dim, seed, done)
    with _without_dropout(model):
        state = learn_scales(
            model,
            summed,
            pairs,
            config,
            ahead_loss_fn=ahead,
            all_reduce=all_reduce,
            state=state,
            on_iteration=on_iteration,
        )
    names = [block.name for block in blocks]
    return Report(config, dict(zip(names, state.scales.tolist(), strict=True)), state)


def _is_scalar(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and not value.dim()


def _is_size(value: object) -> TypeGuard[float]:
    """Whether it can be a number of tokens; that of a tensor is not read, for which the host would wait."""
    return _is_scalar(value) or (isinstance(value, Real) and float(value) >= 0)


def _kind(value: object) -> str:
    return f"tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _require_whole(model: nn.Module, all_reduce: Callable[[Tensor], Any] | None) -> None:
    """Checks the wrappers of a model for several processes, wherever they are: torch.compile may have added another."""
    for module in model.modules():
        kinds = {kind.__name__ for kind in type(module).__mro__}
        if kinds & {"FullyShardedDataParallel", "FSDPModule"}:
            raise ValueError("the model is sharded, and GradInit scales whole tensors: call it before sharding")
        if not isinstance(module, DistributedDataParallel):
            continue
        if distributed.get_world_size() > 1 and all_reduce is None:
            raise ValueError(
                "the model is in DistributedDataParallel, whose processes would learn different scales: pass "
                "all_reduce=torch.distributed.all_reduce"
            )
        if module.static_graph:  # it would take GradInit's derivatives for the backward pass that it records
            raise ValueError(
                "the model is in DistributedDataParallel with static_graph, which would no longer synchronize: call "
                "GradInit on the model inside, with all_reduce, before wrapping it"
            )


def _checked_stacks(model: nn.Module, stacks: Sequence[Stack] | None) -> Sequence[Stack]:
    if stacks is None:
        return find_stacks(model)
    if not stacks or not all(isinstance(stack, Stack) and stack.layers for stack in stacks):
        kinds = ", ".join(type(stack).__name__ for stack in stacks)
        raise ValueError(
            f"stacks holds {kinds or 'nothing'}, expected objects of gradinit_mt.core.Stack, each with a layer or "
            "more: stacks=[Stack([layer1, layer2])]"
        )
    return stacks


def _rate(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """The learning rate, after checking that the optimizer is new and trains this model."""
    # some have a state before their first step, which counts 0 steps
    if any(float(state.get("step", 1)) > 0 for state in optimizer.state.values()):
        raise ValueError("the optimizer has taken steps: GradInit is for a new model, call it before the first one")
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise ValueError("the optimizer maximizes, and GradInit lowers the loss: drop maximize, and negate the loss")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missing:
        raise ValueError(f"the optimizer does not hold {missing[0]}: give it all trainable tensors, or freeze this one")
    rates = sorted({float(group["lr"]) for group in optimizer.param_groups})
    if len(rates) > 1:
        raise ValueError(
            f"the optimizer's groups have learning rates {rates}, expected a single rate: use one for all groups"
        )
    return rates[0]


def _pairs(batches: Iterable[Any], steps: int, dim: int, seed: int, done: int) -> Iterator[tuple[list, list]]:
    """S, divided among the steps, and S~, of every batch from number ``done`` on."""
    for number, batch in enumerate(_endless(batches)):
        if number >= done:
            s, s_tilde = overlapping_halves(_size(batch, dim), seeded(seed, number))
            yield [_taken(batch, share, dim) for share in shared_out(s, steps)], [_taken(batch, s_tilde, dim)]


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    empty = False
    while not empty:
        empty = True
        for batch in batches:
            empty = False
            yield batch


def _size(batch: Any, dim: int) -> int:
    """The number of examples, of which each tensor has one entry."""
    tensors = list(_tensors(batch))
    sizes = {tensor.shape[dim] if -tensor.dim() <= dim < tensor.dim() else -1 for tensor in tensors}
    if len(sizes) != 1 or -1 in sizes:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise ValueError(
            f"a batch has tensors of the shapes {shapes or '(none)'}, expected the same number of examples along "
            f"dimension {dim} of each: leave out what all examples share, or give another batch_dim"
        )
    return sizes.pop()


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping | list | tuple):
        for member in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(member)
    elif batch is not None:
        raise ValueError(
            f"a batch is or holds a {type(batch).__name__}, expected a tensor, or tuples, lists and dicts of tensors"
        )


def _taken(batch: Any, members: list[int], dim: int) -> Any:
    """These examples of a batch; a mapping of any kind becomes a dict."""
    if batch is None:
        return None
    if isinstance(batch, Tensor):
        return batch.index_select(dim, torch.tensor(members, device=batch.device))
    if isinstance(batch, Mapping):
        return {name: _taken(value, members, dim) for name, value in batch.items()}
    taken = [_taken(value, members, dim) for value in batch]
    return type(batch)(*taken) if hasattr(batch, "_fields") else type(batch)(taken)


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    """Puts all modules in evaluation mode, except recurrent ones and those whose statistics of a batch or an example
    training uses.
    """
    modes = [(module, module.training) for module in model.modules()]
    recurrent = [(module, module.dropout) for module in model.modules() if isinstance(module, nn.RNNBase)]
    in_training = model.training
    # in evaluation, PyTorch's Transformer layers return 0 at padding where their parameters are frozen
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # not eval(): a module's own may do more than can be taken back, such as merging weights
        for module, training in modes:
            # one in evaluation mode inside a model in training mode is frozen
            module.training = isinstance(module, _NormBase) and (training or not in_training)
        for module, _ in recurrent:  # in evaluation mode cuDNN has no derivatives of them
            module.training, module.dropout = True, 0.0
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for module, dropout in recurrent:
            module.dropout = dropout
        for module, training in modes:
            module.training = training
