"""Perceptual distances of two pictures: LPIPS, if its weights are available, and gradient statistics.

LPIPS (Zhang, Isola, Efros, Shechtman, Wang 2018, eq. 1) over SqueezeNet 1.1 (Iandola et al. 2016): features of both pictures, of
unit length over the channels; squared differences weighted by channel; means over positions; sums over seven layers. The weights
are third parties' and are read from a folder: `squeezenet1_1_fp16.npz` with torchvision's names and `squeeze_lin.npz` with those of
LPIPS 0.1.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import UInt8
from vqcodec.errors import InputError

_MEANS: Final = (0.485, 0.456, 0.406)
_DEVIATIONS: Final = (0.229, 0.224, 0.225)
"""Mean and deviation of red, green and blue in the network's training set."""
_FIRES: Final = (3, 4, 6, 7, 9, 10, 11, 12)
"""Numbers of torchvision's Fire modules."""
_HALVED_BEFORE: Final = (3, 6, 9)
_SCALES: Final = 3
_WINDOW: Final = 8
_FAINT: Final = 1e-5
"""Squared contrast, of pixels 0 to 1, added to limit the gradient at flat windows."""


class Lpips(nn.Module):
    """LPIPS of pictures [B, 3, H, W], 0 to 1, at least 32 pixels a side, with frozen weights."""

    def __init__(self, folder: Path) -> None:
        """Read the weights from `folder`. Raises InputError."""
        super().__init__()
        found = _arrays(folder / "squeezenet1_1_fp16.npz") | _arrays(folder / "squeeze_lin.npz")
        try:
            self.first = _layer(found, "features.0", stride=2)
            self.fires = nn.ModuleList([Fire(found, f"features.{number}") for number in _FIRES])
            for layer in range(7):
                self.register_buffer(f"weight_{layer}", torch.from_numpy(found[f"lin{layer}.model.1.weight"].astype(np.float32)))
        except KeyError as error:
            raise InputError(f"{folder}: {error} is missing from the weights") from error
        self.register_buffer("means", torch.tensor(_MEANS)[None, :, None, None])
        self.register_buffer("deviations", torch.tensor(_DEVIATIONS)[None, :, None, None])
        self.requires_grad_(False)

    def forward(self, pictures: Tensor, originals: Tensor) -> Tensor:
        """Distances [B]; gradients flow to `pictures` only."""
        with torch.no_grad():
            wanted = self._taps(originals)
        total = torch.zeros(len(pictures), device=pictures.device)
        for layer, (one, other) in enumerate(zip(self._taps(pictures), wanted, strict=True)):
            weighted = functional.conv2d((one - other).square(), self.get_buffer(f"weight_{layer}"))
            total = total + weighted.float().mean(dim=(1, 2, 3))
        return total

    def between(self, original: UInt8, decoded: UInt8) -> float:
        """The distance of two pictures uint8 [H, W] or [H, W, 1 or 3]."""
        planes = [np.broadcast_to(np.atleast_3d(p), (*p.shape[:2], 3)).transpose(2, 0, 1) for p in (decoded, original)]
        device = self.get_buffer("means").device
        tensors = [torch.from_numpy(np.ascontiguousarray(plane, np.float32))[None].to(device) / 255 for plane in planes]
        with torch.no_grad():
            return float(self(*tensors)[0])

    def _taps(self, pictures: Tensor) -> list[Tensor]:
        """Features of seven layers, of unit length over the channels."""
        x = functional.relu(self.first((pictures - self.get_buffer("means")) / self.get_buffer("deviations")))
        found = [x]
        for number, fire in zip(_FIRES, self.fires, strict=True):
            if number in _HALVED_BEFORE:
                x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
            x = fire(x)
            found.append(x)
        return [functional.normalize(found[tap].float(), dim=1, eps=1e-10) for tap in (0, 2, 4, 5, 6, 7, 8)]


class Fire(nn.Module):
    """SqueezeNet's Fire module: a squeeze to few channels, then parallel 1x1 and 3x3 convolutions."""

    def __init__(self, arrays: dict[str, NDArray[Any]], name: str) -> None:
        super().__init__()
        self.squeeze = _layer(arrays, f"{name}.squeeze")
        self.near, self.wide = _layer(arrays, f"{name}.expand1x1"), _layer(arrays, f"{name}.expand3x3")

    def forward(self, x: Tensor) -> Tensor:
        squeezed = functional.relu(self.squeeze(x))
        return functional.relu(torch.cat([self.near(squeezed), self.wide(squeezed)], dim=1))


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path) as archive:
            return dict(archive)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no weights of a perceptual loss ({getattr(error, 'strerror', None) or error})") from error


def _layer(arrays: dict[str, NDArray[Any]], name: str, stride: int = 1) -> nn.Conv2d:
    weight, bias = (torch.from_numpy(arrays[f"{name}.{kind}"].astype(np.float32)) for kind in ("weight", "bias"))
    outputs, inputs, side = weight.shape[:3]
    # only the first layer has no padding
    layer = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2 if stride == 1 else 0)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


class GradientStatistics(nn.Module):
    """Difference of local contrast at three scales, of pictures [B, 3, H, W], 0 to 1.

    Contrasts are root mean squares, in windows of 8 pixels, of horizontal and vertical pixel differences and of the high band: the
    amount of texture, not its position (Portilla and Simoncelli 2000 match more moments). Differences are relative to the
    original's mean contrast; logarithms would give faint windows the weight of salient ones.
    """

    def forward(self, pictures: Tensor, originals: Tensor) -> Tensor:
        """Distances [B]."""
        total = torch.zeros(len(pictures), device=pictures.device)
        for _ in range(_SCALES):
            if min(pictures.shape[2:]) < _WINDOW + 2:
                break  # small crops have fewer scales
            for one, other in zip(_contrasts(pictures), _contrasts(originals), strict=True):
                total = total + (one - other).abs().mean(dim=(1, 2, 3)) / other.mean(dim=(1, 2, 3)) / (3 * _SCALES)
            pictures, originals = functional.avg_pool2d(pictures, 2), functional.avg_pool2d(originals, 2)
        return total


def _contrasts(pictures: Tensor) -> list[Tensor]:
    """Local contrasts of horizontal and vertical gradients and of the high band."""
    across = (pictures[..., :-2] + 2 * pictures[..., 1:-1] + pictures[..., 2:]) / 4
    blurred = (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 4
    bands = (pictures.diff(dim=3), pictures.diff(dim=2), pictures[:, :, 1:-1, 1:-1] - blurred)
    return [torch.sqrt(functional.avg_pool2d(band.square(), _WINDOW, _WINDOW // 2) + _FAINT) for band in bands]
