"""SSIMULACRA2 (Sneyers 2022) with gradients, as a training loss. Decoded files are measured by the package (codec/ssimulacra2.py).

Pictures are compared in XYB, an opponent space of cube roots of cone responses, at five scales by halves. At each, three maps per
channel: the loss of structure (SSIM without luminance), edges that were added, and edges that were lost. The score is a function
of a weighted sum of their means and 4-norms. Weights below 0.01 and the sixth scale, all of whose weights are, are left out; they
change scores by less than 0.01.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_SIDE: Final = 8
"""Side in pixels below which there is no scale."""
_RADIUS, _DEVIATION = 5, 1.5
"""Gaussian window of local statistics, pixels."""
_CONES: Final = ((0.3, 0.622, 0.078), (0.23, 0.692, 0.078), (0.24342269, 0.20476744, 0.55180987))
_BIAS: Final = 0.0037930732552754493
_SMALL_VARIANCE: Final = 0.0009
_WEIGHTS: Final = (  # [scale, channel X, Y or B, norm, map]: the mean, then the 4-norm of (structure, edges added, edges lost)
    (((0, 0, 0), (0, 0, 0)), ((0, 0, 0), (7.46689, 0, 17.445834)), ((0, 0, 0), (0, 0, 0))),
    (((0, 0, 0), (1.104173, 0, 0)), ((0, 0, 0), (6.683678, 0, 1.02789)), ((0, 0, 0), (0, 0, 0))),
    (((0, 0, 0), (1.842246, 11.441173, 0)), ((225.205153, 0, 0), (19.213238, 0, 0)), ((0, 0, 0), (0, 0, 0))),
    (((0, 0, 0), (1.878759, 10.94907, 0)), ((176.393176, 0, 0), (24.43301, 0.285208, 0)), ((0, 0, 0), (8.826983, 23.192433, 0))),
    (
        ((0, 0.967794, 0), (0, 0.998177, 0)),
        ((0, 0, 0), (34.779063, 44.835625, 0)),
        ((95.10805, 0.986398, 0.983438), (0, 171.266726, 0.980786)),
    ),
)
_SCALE: Final = 0.9562382616834844
_CUBIC: Final = (2.326765642916932, -0.020884521182843837, 6.248496625763138e-05)
_POWER: Final = 0.6276336467831387
"""The weighted sum s becomes 100 - 10 (a s + b s^2 + c s^3)^power."""


def score(originals: Tensor, pictures: Tensor) -> Tensor:
    """SSIMULACRA2 [B] of pictures [B, 3, H, W], samples 0 to 255 in sRGB, at least 8 pixels a side; 100 for equal pictures."""
    weighted = _SCALE * difference(originals, pictures)
    first, second, third = _CUBIC
    raised = first * weighted + second * weighted.square() + third * weighted**3
    return 100 - 10 * raised.clamp(min=1e-6) ** _POWER


def difference(originals: Tensor, pictures: Tensor) -> Tensor:
    """The weighted sum [B] of the maps' norms that `score` is a function of: 0 for equal pictures, 2.5 at a score of 70."""
    with torch.autocast(pictures.device.type, enabled=False):  # variances are differences of nearly equal squares
        total = torch.zeros(len(pictures), device=pictures.device)
        one, other = _linear(originals), _linear(pictures)
        for number, weights in enumerate(_WEIGHTS):
            if number:
                one, other = (functional.avg_pool2d(linear, 2, ceil_mode=True) for linear in (one, other))
            if min(one.shape[2:]) < _LEAST_SIDE:
                break
            norms = _norms(_xyb(one), _xyb(other))  # [B, channel, norm, map]
            total = total + (norms * torch.tensor(weights, device=total.device)).sum(dim=(1, 2, 3))
        return total


def _norms(one: Tensor, other: Tensor) -> Tensor:
    """Means and 4-norms [B, 3, 2, 3] of the three maps of each channel of two pictures in XYB [B, 3, h, w]."""
    products = torch.cat([one, other, one.square(), other.square(), one * other], dim=1)
    mean, other_mean, squares, other_squares, both = _blurred(products).chunk(5, dim=1)  # [B, 3, h, w] each
    alike = 1 - (mean - other_mean).square()
    covariance = 2 * (both - mean * other_mean) + _SMALL_VARIANCE
    variances = squares - mean.square() + other_squares - other_mean.square() + _SMALL_VARIANCE
    structure = (1 - alike * covariance / variances).clamp(min=0)
    edges = (1 + (other - other_mean).abs()) / (1 + (one - mean).abs()) - 1
    maps = torch.stack([structure, edges.clamp(min=0), (-edges).clamp(min=0)], dim=2)  # [B, 3, 3, h, w]
    fourth = (maps**4).mean(dim=(3, 4)) + 1e-20  # the root has no gradient at 0
    return torch.stack([maps.mean(dim=(3, 4)), fourth**0.25], dim=2)


def _linear(samples: Tensor) -> Tensor:
    """Linear light, 0 to 1, of samples 0 to 255 in sRGB."""
    share = samples / 255
    return torch.where(share <= 0.04045, share / 12.92, ((share.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def _xyb(linear: Tensor) -> Tensor:
    """XYB, scaled to positive ranges, of linear light [B, 3, h, w]."""
    cones = torch.einsum("ij,bjhw->bihw", torch.tensor(_CONES, device=linear.device), linear) + _BIAS
    long, medium, short = (cones.clamp(min=1e-6) ** (1 / 3) - _BIAS ** (1 / 3)).unbind(dim=1)
    x, y = (long - medium) / 2, (long + medium) / 2
    return torch.stack([14 * x + 0.42, y + 0.01, short - y + 0.55], dim=1)


def _blurred(planes: Tensor) -> Tensor:
    """Planes [B, C, h, w] under the Gaussian window; as in the package, mirrored above and below, and zero at the sides."""
    h, w = planes.shape[2:]
    across, extended = _window(w)[:, _RADIUS:-_RADIUS], _window(h)
    down = extended[:, _RADIUS:-_RADIUS].clone()
    down[:, :_RADIUS] += extended[:, :_RADIUS].flip(1)
    down[:, -_RADIUS:] += extended[:, -_RADIUS:].flip(1)
    return down.to(planes.device) @ planes @ across.T.to(planes.device)


@cache
def _window(side: int) -> Tensor:
    """The Gaussian window as a matrix [side, side + 2 * _RADIUS]: for small crops, products are faster than convolutions."""
    taps = torch.exp(-torch.arange(-_RADIUS, _RADIUS + 1).square() / (2 * _DEVIATION**2))
    matrix = torch.zeros(side, side + 2 * _RADIUS)
    for row in range(side):
        matrix[row, row : row + len(taps)] = taps / taps.sum()
    return matrix
