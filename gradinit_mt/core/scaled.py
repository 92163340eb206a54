"""A model whose trainable tensors are multiples of their initial values."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from gradinit_mt.core.blocks import find_blocks, scale_blocks


class ScaledModel:
    """A model with theta = m * theta0 for one scale per block; theta0 is what it holds on construction.

    Attributes:
        model: the model, on one device.
        blocks: see ``find_blocks``.
        parameters: their tensors.
        theta0: copies of the initial values.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.blocks = find_blocks(model)
        self.parameters: list[Tensor] = [block.parameter for block in self.blocks]
        self.theta0 = [p.detach().clone() for p in self.parameters]
        self.device = self.parameters[0].device

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Restores buffers and random generators; also theta0 if anything is raised.

        The caller's autocast is suspended, since it would cover the derivatives too. The random generators are
        restored because a model with LayerDrop draws from them even in evaluation mode. What the caller has compiled
        runs uncompiled: it would not call hooks that come and go, and has no second derivatives.
        """
        modules = self.model.modules()
        buffers = [_Buffer(module, name) for module in modules for name, _ in module.named_buffers(recurse=False)]
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.autocast(self.device.type, enabled=False), torch.random.fork_rng(devices), _uncompiled():
            try:
                yield
            except BaseException:
                self._load_theta0()
                raise
            finally:
                for buffer in buffers:
                    buffer.restore()

    def load(self, m: Tensor) -> None:
        """theta = m * theta0, exactly: a scale of 1 gives theta0 bit for bit.

        Args:
            m: [blocks], on the blocks' device or the CPU.
        """
        self._load_theta0()
        scale_blocks(self.blocks, m)

    def derivatives_by_scale(self, derivatives: Sequence[Tensor]) -> Tensor:
        """< theta0_i , derivative by theta_i > for every block, which is the derivative by m_i: [blocks]."""
        pairs = zip(self.theta0, derivatives, strict=True)
        return torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in pairs])

    @torch.no_grad()
    def _load_theta0(self) -> None:
        torch._foreach_copy_(self.parameters, self.theta0)


class _Buffer:
    """A buffer of a module, and what it holds on construction."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name = module, name
        self.tensor: Tensor = getattr(module, name)
        self.value = self.tensor.detach().clone()

    @torch.no_grad()
    def restore(self) -> None:
        # most have not changed, and one that is an expanded view could not be written to
        if self.tensor.layout != torch.strided or not _are_alike(self.tensor, self.value):
            self.tensor.copy_(self.value)
        present = getattr(self.module, self.name, None)
        # one of another shape is a table that the module has enlarged, and knows to be larger
        if present is not self.tensor and isinstance(present, Tensor) and present.shape == self.tensor.shape:
            setattr(self.module, self.name, self.tensor)


def _are_alike(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of a shape hold the same, nan included."""
    return torch.equal(a, b) or (a.is_floating_point() and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True))


def _uncompiled() -> AbstractContextManager:
    """Keeps torch.compile from having an effect, if it is in use: loading it takes seconds."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
