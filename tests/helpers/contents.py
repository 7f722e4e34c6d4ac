"""Kinds of pictures for lossless coding: float64 [height, width, channels] from 0 to about `peak`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Content = Callable[[np.random.Generator, int, int, int, int], NDArray[np.float64]]


def smooth(rng: np.random.Generator, height: int, width: int, channels: int, peak: int) -> NDArray[np.float64]:
    """A photograph-like picture: slopes and noise."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(y / (5 + channel) + x / 9) + np.cos(x / (7 + channel)) for channel in range(channels)]
    return (np.stack(waves, axis=2) + 2) / 4.5 * peak + rng.normal(0, peak / 100, (height, width, channels))


def blocks(rng: np.random.Generator, height: int, width: int, channels: int, peak: int) -> NDArray[np.float64]:
    """A graphic: few colours in rectangles."""
    colours = rng.integers(0, peak + 1, (5, channels))
    coarse = rng.integers(0, 5, (-(-height // 6), -(-width // 6)))
    return colours[coarse.repeat(6, axis=0)[:height].repeat(6, axis=1)[:, :width]].astype(np.float64)


def mixed(rng: np.random.Generator, height: int, width: int, channels: int, peak: int) -> NDArray[np.float64]:
    """A graphic above a photograph."""
    picture = blocks(rng, height, width, channels, peak)
    picture[height // 2 :] = smooth(rng, height, width, channels, peak)[height // 2 :]
    return picture


def noise(rng: np.random.Generator, height: int, width: int, channels: int, peak: int) -> NDArray[np.float64]:
    return rng.integers(0, peak + 1, (height, width, channels)).astype(np.float64)


def grain(rng: np.random.Generator, height: int, width: int, levels: int) -> NDArray[np.uint8]:
    """Noise uint8 [height, width] below `levels` whose neighbouring pixels are alike, but in which nothing repeats."""
    white = rng.normal(size=(height + 2, width + 2))
    field = sum(white[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return np.clip((field / 8 + 0.5) * levels, 0, levels - 1).astype(np.uint8)


def noisy_graphic(rng: np.random.Generator, height: int, width: int, channels: int, peak: int) -> NDArray[np.float64]:
    """A graphic of twelve colours, with noise."""
    return rng.integers(0, peak + 1, (12, channels))[grain(rng, height, width, 12)].astype(np.float64)


CONTENTS = (smooth, blocks, mixed, noise)
DEPTHS = (8, 10, 12, 16)


def samples(content: Content, rng: np.random.Generator, shape: tuple[int, int, int], depth: int) -> NDArray[np.uint8 | np.uint16]:
    """A picture of `shape` (height, width, channels) with samples of `depth` bits."""
    peak = (1 << depth) - 1
    return np.clip(content(rng, *shape, peak), 0, peak).round().astype(np.uint8 if depth == 8 else np.uint16)
