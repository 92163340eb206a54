"""A model whose trainable tensors are multiples of their initial values."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
        restored because a model with LayerDrop draws from them even in evaluation mode.
        """
        buffers = [(buffer, buffer.detach().clone()) for buffer in self.model.buffers()]
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.autocast(self.device.type, enabled=False), torch.random.fork_rng(devices):
            try:
                yield
            except BaseException:
                self._load_theta0()
                raise
            finally:
                with torch.no_grad():
                    for buffer, value in buffers:
                        buffer.copy_(value)

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
