"""Tensors of small random networks, and models with them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec.entropy import context
from vqcodec.entropy.pixel_contexts import PLACES
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import INPUTS, OUTPUTS
from vqcodec.transform.layouts import COLOR_4X4
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel


def random_context(seed: int = 0, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Tensors `context.*` of a small random network, within the bounds that a model must keep.

    Scores gain about `scale` classes, means about a third of a step times `scale`; with 0 they gain nothing.
    """
    random = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    widths, hidden, dc_hidden = (5, 4), 3, (6, 4)

    def add(name: str, shape: tuple[int, ...], spread: NDArray[np.float64] | float) -> None:
        """Weights that make sums of about `spread` * 32768 from inputs of 32. `spread` is one for each output, or for all."""
        deviation = np.broadcast_to(spread, shape[-2])[:, None] * 1024 / np.sqrt(shape[-1])
        tensors[f"context.{name}"] = np.rint(random.normal(0, 1, shape) * deviation).astype(np.int16)

    def add_biased(name: str, shape: tuple[int, ...], spread: NDArray[np.float64] | float) -> None:
        add(name, shape, spread)
        bias = random.normal(0, 8192, shape[:-1]) * spread
        tensors[f"context.{name}_bias"] = np.rint(bias).astype(np.int32)

    def spread_of_outputs(count: int) -> NDArray[np.float64]:
        """Spreads of the score and the means. A class and a step are 16384."""
        return scale * np.array([1 / 2, *[1 / 6] * (count - 1)])

    tensors["context.shift"] = np.array([10], np.int16)
    for name, width, planes in zip(("luma", "chroma"), widths, (1, 2), strict=True):
        add(f"{name}.dc", (width, 48 * planes), 1.0)
        add(f"{name}.step", (width, 3), 0.5)
    for tile in COLOR_4X4.tiles:
        name, bank, outputs = f"tile.{tile.number:02d}", min(tile.component, 1), context.outputs_of(tile)
        add(f"{name}.state", (widths[bank], 2 * tile.size * len(context.taps_of(tile))), 0.25)
        add(f"{name}.own", (widths[bank], 8 * tile.size), 0.5)
        add_biased(f"{name}.hidden", (2, hidden, sum(widths[: bank + 1]) + 1 + tile.size), 1.0)
        add_biased(f"{name}.out", (2, outputs, hidden), spread_of_outputs(outputs))
    for name in context.dc_pass_names():
        first, second = dc_hidden
        add_biased(f"{name}.first", (first, context.dc_inputs_of(name)), 1.0)
        add_biased(f"{name}.second", (second, first), 1.0)
        add_biased(f"{name}.out", (2, second), spread_of_outputs(2))
    return tensors


def random_pixel_contexts(seed: int = 0, contexts: int = 12, width: int = 6) -> dict[str, np.ndarray]:
    """Tensors `pixels.*` of a small random network, whose units and contexts are all used."""
    random = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for name, inputs, outputs in (("first", len(PLACES), width), ("second", width, width), ("out", width, contexts)):
        weights = np.rint(random.normal(0, 1024 / np.sqrt(inputs), (outputs, inputs)))
        tensors[f"pixels.{name}"] = weights.astype(np.int16)
        tensors[f"pixels.{name}_bias"] = np.rint(64 * (1024 - weights.sum(axis=1))).astype(np.int32)
    return tensors


def random_network(
    width: int, blocks: int, scale: float, seed: int = 0, kind: str = "synthesis", ends: tuple[int, int] | None = None
) -> dict[str, np.ndarray]:
    """Tensors `kind.*` of a random network. `ends`: its inputs and outputs, if `kind` is neither synthesis nor refiner."""

    rng = np.random.default_rng(seed)
    inputs, outputs = ends or (INPUTS[kind], OUTPUTS)
    shapes: dict[str, tuple[int, ...]] = {
        "head": (width, inputs),
        "depthwise": (blocks, width, 9),
        "expand": (blocks, 2 * width, width),
        "project": (blocks, width, 2 * width),
        "tail": (outputs, width),
    }
    shapes = {**shapes, **{f"{name}_bias": shape[:-1] for name, shape in shapes.items()}}
    return {f"{kind}.{name}": (scale * rng.standard_normal(shape)).astype(np.float16) for name, shape in shapes.items()}


def with_scarce_memory(limit: int, run: convolution.RunNetwork) -> convolution.RunNetwork:
    """`run` with memory for at most `limit` rows."""

    def scarce_run(x: np.ndarray, kept: convolution.Rows | None = None) -> np.ndarray:
        if x.shape[1] > limit:
            raise MemoryError
        return run(x, kept)

    return scarce_run


def neural_model(tensors: Mapping[str, Any]) -> ExactModel:
    """photo-lite with the tensors of a network."""
    model = ExactModel("test", {**registry.find("photo-lite").tensors, **tensors})
    model.check()
    return model
