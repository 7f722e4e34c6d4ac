"""Adversarial training (Goodfellow et al. 2014), shared by refiners and token models.

Both players have hinge losses (Lim and Ye 2017). The generator's may have an adaptive weight (Esser, Rombach and Ommer 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from vqcodec.neural.loop import descend
from vqcodec.neural.networks import ConvNetwork

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Distances [B] of pictures [B, 3, H, W], 0 to 1, from their originals."""
BETAS: Final = (0.5, 0.99)
"""Betas of Adam, shorter than usual because the loss changes with the other player."""
_LEAK: Final = 0.2
_LARGEST_WEIGHT: Final = 1e4
"""Upper bound of the adaptive weight (Esser et al.)."""


class Discriminator(nn.Module):
    """Tells originals from generated pictures by patches of 22 and 70 pixels (Isola et al. 2017).

    Spectral normalisation (Miyato et al. 2018) bounds its slope, and thereby the generator's gradients.
    """

    def __init__(self, inputs: int) -> None:
        """`inputs` is the number of planes: those of the picture and of additional facts."""
        super().__init__()
        self.fine = nn.ModuleList([_normed(inputs, 48, 4, 2), _normed(48, 96, 4, 2)])
        self.coarse = nn.ModuleList([_normed(96, 160, 4, 2), _normed(160, 160, 3, 1)])
        self.fine_out, self.coarse_out = _normed(96, 1, 3, 1), _normed(160, 1, 3, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Scores of planes [B, inputs, 8 h, 8 w], above 0 where they look original: [B, 1, 2 h, 2 w] and [B, 1, h, w]."""
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
    """Train the discriminator to tell originals from generated planes, both [B, inputs, H, W].

    Returns its loss, and its accuracy before the step.
    """
    real, fake = discriminator(original), discriminator(made.detach())
    pairs = list(zip(real, fake, strict=True))
    loss = torch.stack([functional.relu(1 - r).mean() + functional.relu(1 + f).mean() for r, f in pairs]).mean()
    right = torch.stack([((r > 0).float().mean() + (f < 0).float().mean()) / 2 for r, f in pairs]).mean()
    descend(discriminator, optimiser, loss)
    return {"discriminator_loss": loss.detach(), "accuracy": right}


def adversarial_loss(discriminator: Discriminator, made: Tensor) -> Tensor:
    """L_a of generated planes [B, inputs, H, W]."""
    return -torch.stack([f.mean() for f in discriminator(made)]).mean()


def adaptive_weight(others: Tensor, adversarial: Tensor, generator: ConvNetwork) -> Tensor:
    """Weight of L_a that makes its gradient at the last layer as large as that of the other losses."""
    last = generator.tail.weight
    ours, theirs = (torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (others, adversarial))
    return (ours / (theirs + 1e-4)).clamp(0, _LARGEST_WEIGHT)
