"""Pictures that share icons, and graphic models of them."""

from pathlib import Path
from typing import Any

import numpy as np

from helpers.networks import random_pixel_contexts
from vqcodec import Metadata, api
from vqcodec.codec.pattern_book import colours_of
from vqcodec.transform.palette import grey_levels
from vqcodec.weights.folder import save_model
from vqcodec.weights.graphic import GraphicModel, tensors_of

PROFILE = bytes(range(256)) * 2
"""Stands for an ICC profile."""
METADATA = Metadata(icc=PROFILE)
GOLDEN_MODEL = "icons"
"""The model of the golden files."""


def icons(rng: np.random.Generator, count: int = 6, side: int = 24) -> list[np.ndarray]:
    """Icons uint8 [side, side, 4] of noise in few colours, partly transparent."""
    colours = rng.integers(0, 256, (9, 4)).astype(np.uint8)
    return [colours[rng.integers(0, 9, (side, side))] for _ in range(count)]


def desktop(rng: np.random.Generator, of: list[np.ndarray], height: int = 90, width: int = 110, count: int = 5) -> np.ndarray:
    """A picture uint8 [height, width, 4] of one colour with some icons at any place, which may cover each other."""
    pixels = np.full((height, width, 4), (240, 240, 244, 255), np.uint8)
    for number in rng.integers(0, len(of), count):
        side = of[number].shape[0]
        y, x = rng.integers(0, height - side), rng.integers(0, width - side)
        pixels[y : y + side, x : x + side] = of[number]
    return pixels


def graphic_model(pictures: list[np.ndarray], profiles: tuple[bytes, ...] = (PROFILE,), name: str = "icons") -> GraphicModel:
    """A graphic model whose sheets are these pictures [H, W, 1 to 4]."""
    sheets = []
    for pixels in pictures:
        colours = colours_of(pixels)
        sheets.append(api.encode(colours.view(np.uint8).reshape(*colours.shape, 4), lossless=True, threads=1, effort=1))
    model = GraphicModel(name, tensors_of(sheets, profiles))
    return GraphicModel(name, model.tensors, {"name": name, "kind": "graphic", "id": model.id})


def contexts_model(seed: int = 0, name: str = "contexts") -> GraphicModel:
    """A graphic model with a random network and nothing else."""
    model = GraphicModel(name, {**tensors_of([], []), **random_pixel_contexts(seed)})
    return GraphicModel(name, model.tensors, {"name": name, "kind": "graphic", "id": model.id})


def grown(model: GraphicModel, colours: np.ndarray, height: int, width: int, seed: int = 0, surprise: float = 0.1) -> np.ndarray:
    """A picture [height, width, C] whose colours, uint8 [n, C], mostly follow from the contexts by the model's network."""
    assert model.network is not None
    rng = np.random.default_rng(seed)
    levels, reach = grey_levels(colours), 4
    seen = np.full((height + reach, width + 2 * reach), 127, np.uint8)
    picked = np.zeros((height, width), np.intp)
    for y, x in sorted(np.ndindex(height, width), key=lambda place: place[1] + 2 * place[0]):
        around = [seen[y + reach + row : y + reach + row + 1, x + reach + column] for row, column in model.network.places]
        expected = int(model.network.of(around)[0]) % len(colours)
        picked[y, x] = rng.integers(len(colours)) if rng.random() < surprise else expected
        seen[y + reach, x + reach] = levels[picked[y, x]]
    return colours[picked]


def saved_model(folder: Path, model: GraphicModel) -> Path:
    """The folder of a model, written there."""
    save_model(folder / model.name, model)
    return folder / model.name


def golden_model() -> GraphicModel:
    """A model of three pictures with six icons."""
    of = icons(np.random.default_rng(1))
    return graphic_model([desktop(np.random.default_rng(number), of) for number in (2, 3, 4)], name=GOLDEN_MODEL)


def golden_pictures() -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Pictures that copy from it, and options: with alpha, in tile groups, and with cells of all three kinds."""
    of, rng = icons(np.random.default_rng(1)), np.random.default_rng(9)
    opaque = [np.dstack([icon[:, :, :3], np.full(icon.shape[:2], 255, np.uint8)]) for icon in of]
    mixed = desktop(rng, opaque)[:, :, :3]
    mixed[:, 50:] = rng.integers(0, 5, (90, 60, 3)) + np.add.outer(np.arange(90), np.arange(60))[:, :, None] // 2
    return {
        "alpha": (desktop(rng, of), {}),
        "alpha-tiles": (desktop(rng, of), {"tile": 64}),
        "profile": (mixed[:16, 80:], {}),
    }
