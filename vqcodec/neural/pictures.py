"""Coefficients to pictures, with gradients."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vqcodec.arrays import Int32
from vqcodec.transform import dct
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import COLOR_8X8


def to_pictures(coefficients: Tensor, color: Int32 = OPPONENT) -> Tensor:
    """Coefficients [B, 192, h, w] in grey levels to pictures [B, 3, 8 h, 8 w], 0 to 1, not clipped.

    `color` is the colour matrix, int32 [3, 3].
    """
    weights = _pixel_weights(tuple(color.reshape(-1).tolist())).to(coefficients.device)
    with torch.autocast(coefficients.device.type, enabled=False):  # a bfloat16 has fewer bits than a pixel
        return functional.pixel_shuffle(functional.conv2d(coefficients, weights), dct.BLOCK) * (1 / 255) + 128 / 255


@lru_cache(maxsize=1)
def _pixel_weights(color: tuple[int, ...]) -> Tensor:
    """The inverse DCT as a 1x1 convolution [192, 192, 1, 1] to pixels in the order of pixel_shuffle: component, row, column."""
    matrix = dct.inverse_matrix(COLOR_8X8, np.array(color, np.int32).reshape(3, 3)) / (1 << dct.SHIFT)
    by_component = matrix.reshape(-1, dct.BLOCK * dct.BLOCK, COLOR_8X8.components).transpose(2, 1, 0)  # [component, pixel, channel]
    return torch.from_numpy(by_component.reshape(-1, COLOR_8X8.channels).astype(np.float32))[:, :, None, None]
