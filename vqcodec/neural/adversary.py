"""Training against a discriminator, whatever the generator (Goodfellow et al. 2014): what refiners and token models share.

Hinge losses (Lim and Ye 2017); the generator's weighed as Esser, Rombach and Ommer (2021) do, if one likes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from vqcodec.neural.synthesis import SynthesisNetwork

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Distances [B] of pictures [B, 3, H, W] from their originals, 0 to 1."""
BETAS: Final = (0.5, 0.99)
"""Of Adam, which looks back less than usual: what is right changes with the other player."""
_LEAK: Final = 0.2
_LARGEST_WEIGHT: Final = 1e4
"""Of the adaptive weight (Esser et al.)."""


class Discriminator(nn.Module):
    """Tells originals from decoded pictures by patches of 22 and of 70 pixels (Isola et al. 2017).

    Spectral norms (Miyato et al. 2018) keep its slope, and so the generator's gradients, within bounds.
    """

    def __init__(self, inputs: int) -> None:
        """`inputs` are the planes that it looks at: those of the picture, and of what it is told besides."""
        super().__init__()
        self.fine = nn.ModuleList([_normed(inputs, 48, 4, 2), _normed(48, 96, 4, 2)])
        self.coarse = nn.ModuleList([_normed(96, 160, 4, 2), _normed(160, 160, 3, 1)])
        self.fine_out, self.coarse_out = _normed(96, 1, 3, 1), _normed(160, 1, 3, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Of planes [B, inputs, 8 h, 8 w]: above 0 where they look original, [B, 1, 2 h, 2 w] and [B, 1, h, w]."""
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.fine:
            x = functional.leaky_relu(layer(x), _LEAK)
        found = [self.fine_out(x).float()]
        for layer in self.coarse:
            x = functional.leaky_relu(layer(x), _LEAK)
        return [*found, self.coarse_out(x).float()]


def _normed(inputs: int, outputs: int, side: int, stride: int) -> nn.Module:
    layer: nn.Module = spectral_norm(nn.Conv2d(inputs, outputs, side, stride, padding=1))
    return layer


def discriminator_step(
    discriminator: Discriminator, optimiser: torch.optim.Optimizer, original: Tensor, made: Tensor
) -> dict[str, Tensor]:
    """Teach the discriminator to tell originals from what was made, both [B, inputs, H, W]; its loss, and the share that it told
    right before."""
    real, fake = discriminator(original), discriminator(made.detach())
    pairs = list(zip(real, fake, strict=True))
    loss = torch.stack([functional.relu(1 - r).mean() + functional.relu(1 + f).mean() for r, f in pairs]).mean()
    right = torch.stack([((r > 0).float().mean() + (f < 0).float().mean()) / 2 for r, f in pairs]).mean()
    descend(discriminator, optimiser, loss)
    return {"discriminator_loss": loss.detach(), "accuracy": right}


def adversarial_loss(discriminator: Discriminator, made: Tensor) -> Tensor:
    """L_a of what was made [B, inputs, H, W]."""
    return -torch.stack([f.mean() for f in discriminator(made)]).mean()


def adaptive_weight(others: Tensor, told: Tensor, generator: SynthesisNetwork) -> Tensor:
    """Of L_a, for gradients of the last layer as large as those of the other losses."""
    last = generator.tail.weight
    ours, theirs = (torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (others, told))
    return (ours / (theirs + 1e-4)).clamp(0, _LARGEST_WEIGHT)


def descend(network: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of the optimiser."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
