"""Cost of latents in training: the rate and distortion that the encoder would pay for its targets.

Contexts are the decoder's (hard-quantised latents; Minnen and Singh 2020). Bits are those of the unquantised latents under a
density convolved with one step, whose scale the score gives. The encoder minimises rate and distortion together, so a latent costs
its bits plus the error of rounding, or the bits of a zero plus its square, whichever is less. The densities, mixtures of two
logistic densities for each class, are learnt too, since codebooks are fitted to their classes afterwards.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from vqcodec.entropy.linear import CLASS_OF_ONE, CLASSES, CLASSES_PER_OCTAVE


class Density(nn.Module):
    """Cost of residuals given scores, in bits, by a mixture of two logistic densities for each class, convolved with one step."""

    def __init__(self, lambda_: float) -> None:
        """`lambda_` is the encoder's, in squared steps per bit."""
        super().__init__()
        self.lambda_ = lambda_
        log_scale = (torch.arange(CLASSES + 2) - CLASS_OF_ONE + 0.5) * float(np.log(2) / CLASSES_PER_OCTAVE)
        self.table = nn.Parameter(torch.stack([log_scale - 0.3, log_scale + 0.7, torch.full_like(log_scale, 0.5)], dim=1))

    def forward(self, x: Tensor, score: Tensor) -> Tensor:
        """Costs of residuals x, in steps, with scores in classes; shapes broadcast."""
        score = score.float().clamp(0, CLASSES)
        below = score.detach().floor().long()
        share = (score - below)[..., None]
        first, second, balance = (self.table[below] * (1 - share) + self.table[below + 1] * share).unbind(-1)
        size = x.float().abs()
        p: Tensor = torch.full_like(size, _LEAST_PROBABILITY)
        p_zero: Tensor = torch.full_like(score, _LEAST_PROBABILITY)
        for log_scale, weight in ((first, torch.sigmoid(balance)), (second, torch.sigmoid(-balance))):
            sharpness = torch.exp(-log_scale) / _LOGISTIC_OF_LAPLACE
            p = p + weight * (torch.sigmoid((0.5 - size) * sharpness) - torch.sigmoid((-0.5 - size) * sharpness))
            p_zero = p_zero + weight * torch.tanh(0.25 * sharpness)
        return torch.minimum(-torch.log2(p) + _ROUNDING / self.lambda_, -torch.log2(p_zero) + size.square() / self.lambda_)


_ROUNDING: Final = 1 / 12
"""Mean squared error of rounding, in squared steps."""
_LEAST_PROBABILITY: Final = 2e-6
_LOGISTIC_OF_LAPLACE: Final = 0.72
"""Scale of a logistic density whose mean magnitude is 1."""
