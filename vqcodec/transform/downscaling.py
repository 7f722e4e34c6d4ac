"""Downscaling of alpha planes, and of pictures by alpha. A *square* is the `scale` x `scale` pixels that become one pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Pixels


def squares(plane: NDArray[Any], scale: int) -> NDArray[Any]:
    """The squares of a plane [H, W] or a picture [H, W, c]; edges are repeated.

    Returns [ceil(H / scale), ceil(W / scale), scale * scale, ...].
    """
    height, width = plane.shape[:2]
    sides = ((0, -height % scale), (0, -width % scale), *((0, 0) for _ in plane.shape[2:]))
    padded = np.pad(plane, sides, mode="edge")
    h, w = padded.shape[0] // scale, padded.shape[1] // scale
    apart = padded.reshape(h, scale, w, scale, *plane.shape[2:]).swapaxes(1, 2)
    return apart.reshape(h, w, scale * scale, *plane.shape[2:])


def downscale(plane: Pixels, scale: int) -> Pixels:
    """The means of the squares of an alpha plane [H, W], rounded to nearest."""
    return np.floor(squares(plane, scale).mean(axis=2, dtype=np.float32) + 0.5).astype(plane.dtype)


def mixed_squares(plane: Pixels, scale: int) -> Bool:
    """Whether the pixels of each square of an alpha plane [H, W] differ, bool [ceil(H / scale), ceil(W / scale)]."""
    found = squares(plane, scale)
    return found.min(axis=2) < found.max(axis=2)


def downscale_picture(pixels: Pixels, scale: int, *, alpha: bool) -> Pixels:
    """The means of the squares of samples [H, W, C], rounded to nearest. With `alpha`, the last channel weights the others."""
    found = squares(pixels, scale).astype(np.float64)  # [h, w, scale * scale, C]
    means = found.mean(axis=2)
    if alpha:
        weights = np.where(found[..., -1:].any(axis=2), found[..., -1], 1.0)  # [h, w, scale * scale]
        means[..., :-1] = (found[..., :-1] * weights[..., None]).sum(axis=2) / weights.sum(axis=2)[..., None]
    return np.floor(means + 0.5).astype(pixels.dtype)


def weigh_colours(small: Pixels, mixed: Bool, picture: Pixels, plane: Pixels, scale: int) -> None:
    """Replace the pixels of `small` [H', W', c] in `mixed` squares by means of the picture [H, W, c] weighted with its alpha plane.

    Without the weights the invisible colours of transparent pixels would bleed into visible ones.
    """
    exact = np.float32 if plane.dtype == np.uint8 else np.float64  # for sums of 64 products of two samples
    weights = squares(plane, scale)[mixed].astype(exact)[..., None]  # [n, scale * scale, 1]
    means = (squares(picture, scale)[mixed] * weights).sum(axis=1) / weights.sum(axis=1)
    small[mixed] = np.floor(means + 0.5).astype(small.dtype)
