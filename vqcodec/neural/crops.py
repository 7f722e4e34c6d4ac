"""Random crops of training samples, mirrored and transposed as pictures or as coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.arrays import Float64, Intp, UInt8
from vqcodec.nets.synthesis import SEEN
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, Layout


def mirror_columns(x: NDArray[Any], signs: NDArray[Any]) -> NDArray[Any]:
    """Coefficients or features [C, h, w] of the picture mirrored left to right: odd horizontal frequencies change sign."""
    return x[:, :, ::-1] * signs[:, None, None]


def transpose(x: NDArray[Any], order: Intp) -> NDArray[Any]:
    """Coefficients or features of the transposed picture: horizontal and vertical frequencies swap."""
    return x[order].transpose(0, 2, 1)


def mirror_signs(layout: Layout) -> NDArray[np.float16]:
    """Sign of every channel for `mirror_columns`."""
    return np.array([1 - 2 * (u % 2) for _, _, u in layout.positions], np.float16)


def transposed_order(layout: Layout) -> Intp:
    """Order of the channels for `transpose`."""
    place = {position: channel for channel, position in enumerate(layout.positions)}
    return np.array([place[component, u, v] for component, v, u in layout.positions], np.intp)


FEATURE_SIGNS = np.append(mirror_signs(COLOR_4X4), np.float16(1))
FEATURE_ORDER = np.append(transposed_order(COLOR_4X4), SEEN)
OUTPUT_SIGNS, OUTPUT_ORDER = mirror_signs(COLOR_8X8), transposed_order(COLOR_8X8)


@dataclass(frozen=True)
class Place:
    """A square crop of sample `number`, in cells, that may be transposed and then mirrored."""

    number: int
    top: int
    left: int
    crop: int
    transposed: bool
    mirrored: bool

    def cut(self, x: NDArray[Any], order: Intp, signs: NDArray[Any], scale: int = 1) -> NDArray[Any]:
        """The crop of x [C, scale * h, scale * w]; `order` and `signs` are arguments of `transpose` and `mirror_columns`."""
        top, left, side = scale * self.top, scale * self.left, scale * self.crop
        x = x[:, top : top + side, left : left + side]
        if self.transposed:
            x = transpose(x, order)
        return mirror_columns(x, signs) if self.mirrored else x


def draw_places(sides: Sequence[tuple[int, ...]], batch: int, crop: int, rng: np.random.Generator) -> Iterator[Place]:
    """Random crops of samples of `sides` cells (h, w), drawn in proportion to their area, mirrored and transposed at random."""
    weights = np.array([h * w for h, w in sides], np.float64)
    for number in rng.choice(len(sides), batch, p=weights / weights.sum()):
        top, left = (int(rng.integers(side - crop + 1)) for side in sides[number])
        yield Place(int(number), top, left, crop, bool(rng.random() < 0.5), bool(rng.random() < 0.5))


def stacked(arrays: Sequence[NDArray[Any]]) -> Tensor:
    """Arrays stacked to a float32 tensor."""
    return torch.from_numpy(np.stack(arrays).astype(np.float32))


def usable_crop(sides: Sequence[tuple[int, ...]], crop: int) -> int:
    """Side of crops in cells: `crop`, or what nine pictures of ten allow."""
    shortest = sorted(map(min, sides))
    return min(crop, shortest[len(shortest) // 10])


def area_shares(pictures: Sequence[UInt8]) -> Float64:
    """Area of each picture uint8 [H, W, C] over that of all, float64 [pictures]."""
    areas = np.array([picture.shape[0] * picture.shape[1] for picture in pictures], np.float64)
    return areas / areas.sum()
