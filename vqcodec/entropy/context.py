"""The convolutional prior: what a network adds to the linear predictions of linear.py and dc_pyramid.py, in exact integers.

It sees more, and sees it through two layers of clamped units: what the linear maps take for noise it knows for an edge or a
texture. It adds to each score and, where a tile has one, to each mean; all features of the linear predictors stay as they
are, so that a network of zeros changes nothing (one starts from the classical solution). Nothing here is floating point but
in name: values are integers in float32, and `ContextNetwork.check` proves that no sum leaves the 24 bits in which they are exact
in any order of summation, on any device.

The formulas are section 5.4 of the specification (container.py): two *states*, of luma and of chroma, gather what is decoded,
cell by cell; luma never looks at chroma. For each half of a tile, two layers turn them into corrections. A DC pass of the two
finest levels has two hidden layers of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Float64, Int16, Int32
from vqcodec.entropy import dc_pyramid, linear
from vqcodec.entropy.linear import CLASSES, FLOAT32_EXACT, SCALE_SHIFT, Grid, log16
from vqcodec.errors import ModelError
from vqcodec.transform.layouts import COLOR_4X4, Tile

UNIT_SHIFT: Final = 10
UNIT_MAX: Final = 127
MEAN_OUT_SHIFT: Final = 10
TILES: Final = len(COLOR_4X4.tiles)
"""Tiles that the network serves: those of the largest layout beyond have linear predictions alone."""
DC_LEVELS: Final = 2
WIDE_TILES: Final = 7
NEAR: Final = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
WIDE: Final = tuple((y, x) for y in (-2, -1, 0, 1, 2) for x in (-2, -1, 0, 1, 2))
CROSS: Final = ((0, -1), (0, 1), (-1, 0), (1, 0))
DC_AROUND: Final = tuple(place for place in WIDE if place != (0, 0))
MARGIN: Final = 2
SCORE_MAX: Final = (CLASSES << SCALE_SHIFT) - 1
_UNIT_BOUNDS: Final = np.float32(0), np.float32(UNIT_MAX)
_SCORE_BOUNDS: Final = np.float32(0), np.float32(SCORE_MAX)
_LATENT_RANGE: Final = 1 << 16


@cache  # made when it is needed: a model without context does without
def _feature_table() -> Float32:
    above = (log16(np.arange(_LATENT_RANGE + 1) + 4) - 32) >> 1  # of 0, 1, ...; odd
    return np.concatenate([-above[:0:-1], above]).astype(np.float32)


def feature(latents: NDArray[np.signedinteger[Any]]) -> Float32:
    """Features float32 of latents or differences of latents (integers in 1/16 step)."""
    return _feature_table().take(np.add(latents, _LATENT_RANGE, dtype=np.intp), mode="clip")


def step_inputs(step: int) -> Float32:
    """Float32 [3], integers of at most 127."""
    level = int(log16(step)) - 176
    return np.array([32, level >> 1, level * level >> 8], np.float32)


def taps_of(tile: Tile) -> tuple[tuple[int, int], ...]:
    """Places around a cell at which a tile's values enter the state."""
    return WIDE if tile.number < WIDE_TILES else NEAR


def outputs_of(tile: Tile) -> int:
    """The score and, of tiles that have a predicted mean, one mean for each coefficient."""
    before = sum(other.component == tile.component for other in COLOR_4X4.tiles[: tile.number])
    return 1 + (tile.size if linear.has_mean(tile, before) else 0)


def dc_pass_names() -> list[str]:
    """Passes of the pyramid that have a network."""
    return [f"dc.{c}.{level}.{number}" for c in range(3) for level in range(DC_LEVELS) for number in range(dc_pyramid.PASSES)]


def dc_inputs_of(name: str) -> int:
    """Inputs of the network of a pass."""
    component, number = int(name[3]), int(name[7])
    return 2 * dc_pyramid.MEAN_ROWS[component][number] + dc_pyramid.SCALE_ROWS[component] + 2 + 3


@dataclass(frozen=True, eq=False)
class Layer:
    """An affine map: `weights` float32 [out, in] and `bias` float32 [out, 1], integers, or such over a power of two."""

    weights: Float32
    bias: Float32

    def __call__(self, x: Float32) -> Float32:
        result: Float32 = self.weights @ x
        result += self.bias
        return result

    def __truediv__(self, divisor: int) -> Layer:
        return Layer(self.weights / np.float32(divisor), self.bias / np.float32(divisor))

    def check(self, name: str, shape: tuple[int, int], limit: int) -> None:
        """Raise ModelError unless the shape is right and no output, for inputs of at most UNIT_MAX, reaches `limit`."""
        _require(self.weights.shape == shape and self.bias.shape == (shape[0], 1), name, "has a wrong shape")
        _require(int(_reach(self.weights, self.bias).max(initial=0)) < limit, name, "is too large to be exact")


@dataclass(frozen=True, eq=False)
class TileWeights:
    """Of one tile: `state` [W, 2 T taps] and `own` [W, 8 T]; of each half `hidden` and `out`."""

    state: Float32
    own: Float32
    hidden: tuple[Layer, Layer]
    out: tuple[Layer, Layer]


@dataclass(frozen=True, eq=False)
class ContextNetwork:
    """A model's tensors `context.*`: `dc` [W, ...] and `step` [W, 3] of luma and chroma, tiles, and DC passes.

    All that is summed for a unit is divided by its 2**shift beforehand, which changes no bit of a sum but its exponent.
    """

    dc: tuple[Float32, Float32]
    step: tuple[Float32, Float32]
    tiles: tuple[TileWeights, ...]
    passes: Mapping[str, tuple[Layer, Layer, Layer]]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> ContextNetwork:
        """Raises KeyError, ValueError, ModelError."""

        def weights(name: str) -> Float32:
            array = tensors[f"context.{name}"]
            if array.dtype != np.int16 or array.ndim < 1:
                raise ValueError(f"context.{name} is not int16")
            return array.astype(np.float32)

        def halves(name: str) -> tuple[Layer, Layer]:
            both, bias = weights(name), weights_bias(name)
            if both.ndim != 3 or len(both) != 2 or bias.shape != both.shape[:2]:
                raise ValueError(f"context.{name} has a wrong shape")
            return Layer(both[0], bias[0][:, None]), Layer(both[1], bias[1][:, None])

        def weights_bias(name: str) -> Float32:
            array = tensors[f"context.{name}_bias"]
            if array.dtype != np.int32:
                raise ValueError(f"context.{name}_bias is not int32")
            return array.astype(np.float32)

        tiles = [
            TileWeights(weights(f"{name}.state"), weights(f"{name}.own"), halves(f"{name}.hidden"), halves(f"{name}.out"))
            for name in (f"tile.{tile.number:02d}" for tile in COLOR_4X4.tiles)
        ]
        passes = {}
        for name in dc_pass_names():
            first, second, out = (
                Layer(weights(f"{name}.{part}"), weights_bias(f"{name}.{part}")[:, None]) for part in ("first", "second", "out")
            )
            passes[name] = (first, second, out)
        dc_weights, step_weights = (weights("luma.dc"), weights("chroma.dc")), (weights("luma.step"), weights("chroma.step"))
        found = cls(dc_weights, step_weights, tuple(tiles), passes)
        found.check()
        return found._divided(int(tensors["context.shift"].reshape(1)[0]))

    def _divided(self, shift: int) -> ContextNetwork:
        """The network of integers that was read, with what makes units divided: those of a state by 2**`shift`, as sums of so many
        weights would not be exact with that of the other layers. Raises ModelError."""
        _require(1 <= shift <= UNIT_SHIFT, "shift", "is not 1 to 10")
        one, state = 1 << UNIT_SHIFT, np.float32(1 << shift)
        tiles = [
            TileWeights(tile.state / state, tile.own / state, (tile.hidden[0] / one, tile.hidden[1] / one), tile.out)
            for tile in self.tiles
        ]
        passes = {name: (first / one, second / one, out) for name, (first, second, out) in self.passes.items()}
        dc_weights, step = ((luma / state, chroma / state) for luma, chroma in (self.dc, self.step))
        return ContextNetwork(dc_weights, step, tuple(tiles), passes)

    def check(self) -> None:
        """Raise ModelError unless all shapes are right and every sum of integers is exact in float32, whatever the features are."""
        widths = [len(weights) for weights in self.dc]
        reach = [_reach(weights, 0) + _reach(step, 0) for weights, step in zip(self.dc, self.step, strict=True)]
        for weights, step, width, count in zip(self.dc, self.step, widths, (1, 2), strict=True):
            _require(weights.shape == (width, 2 * len(DC_AROUND) * count) and step.shape == (width, 3), "dc", "has a wrong shape")
        for tile, given in zip(COLOR_4X4.tiles, self.tiles, strict=True):
            name, bank = f"tile.{tile.number:02d}", min(tile.component, 1)
            shapes = (widths[bank], 2 * tile.size * len(taps_of(tile))), (widths[bank], 8 * tile.size)
            _require((given.state.shape, given.own.shape) == shapes, name, "has a wrong shape")
            worst = reach[bank] + _reach(given.own, 0)
            reach[bank] = reach[bank] + _reach(given.state, 0)
            _require(max(worst.max(), reach[bank].max()) < FLOAT32_EXACT, name, "is too large to be exact")
            inputs = sum(widths[: bank + 1]) + 1 + tile.size
            for hidden, out in zip(given.hidden, given.out, strict=True):
                hidden.check(f"{name}.hidden", (len(hidden.weights), inputs), FLOAT32_EXACT)
                out.check(f"{name}.out", (outputs_of(tile), len(hidden.weights)), FLOAT32_EXACT // 2)
        for name, (first, second, out) in self.passes.items():
            first.check(f"{name}.first", (len(first.weights), dc_inputs_of(name)), FLOAT32_EXACT)
            second.check(f"{name}.second", (len(second.weights), len(first.weights)), FLOAT32_EXACT)
            out.check(f"{name}.out", (2, len(second.weights)), FLOAT32_EXACT // 2)

    @property
    def macs_per_pixel(self) -> float:
        """Multiplications of weights for each pixel of a colour picture with 4x4 chroma."""
        each_cell = sum(weights.size for weights in (*self.dc, *(tile.state for tile in self.tiles)))
        halves = [tile.own.size + sum(layer.weights.size for layer in (*tile.hidden, *tile.out)) for tile in self.tiles]
        passes = [
            sum(layer.weights.size for layer in layers) / 4 ** (1 + int(name.split(".")[2])) for name, layers in self.passes.items()
        ]
        return (each_cell + sum(halves) / 2 + sum(passes)) / 64


def _reach(weights: Float32, bias: Float32 | int) -> Float64:
    """Largest sum of magnitudes that each row can make of inputs of at most UNIT_MAX, float64 [out]."""
    weight: Float64 = np.abs(weights.astype(np.float64)).sum(axis=1)
    return weight * UNIT_MAX + np.abs(np.asarray(bias, np.float64)).reshape(-1)


def _require(condition: bool, name: str, message: str) -> None:
    if not condition:
        raise ModelError(f"model: context.{name} {message}")


def unit(sums: Float32, out: Float32) -> Float32:
    """clamp(floor(sums), 0, 127)."""
    return np.floor(sums.clip(*_UNIT_BOUNDS, out=out), out=out)


def hidden_units(layer: Layer, x: Float32) -> Float32:
    """What a hidden layer makes of inputs."""
    sums = layer(x)
    return unit(sums, sums)


def clamp_score(score: Float32) -> Float32:
    """Linear scores, in place, to the range in which something can be added to them exactly."""
    return score.clip(*_SCORE_BOUNDS, out=score)


class DcCorrection(Protocol):
    """What coding DCs asks of a network. All scores are float32 [n]."""

    def dc_pass(
        self, this: dc_pyramid.Pass, inputs: dc_pyramid.Inputs, means: Int32, score: Float32
    ) -> tuple[Int32 | int, Float32]:
        """For linear means int32 [1, n] (without their base): what is added to them, and the score corrected."""
        ...


class Correction(DcCorrection, Protocol):
    """What the walk over a tile group asks of a network: corrections of linear predictions."""

    def dc_done(self) -> None:
        """All DCs are in `grid.latents`."""
        ...

    def half(self, tile: Tile, half: int, means: Int32, score: Float32) -> tuple[Int32 | int, Float32]:
        """For linear means int32 [T, n] of one half of a tile: what is added to them, and the score corrected."""
        ...

    def half_done(self, tile: Tile, half: int, residuals: Int32) -> None:
        """One half is in `grid.latents`; `residuals` int32 [T, n] are its differences to the linear means."""
        ...


class NoCorrection:
    """Of a model without such a network."""

    def dc_pass(
        self, this: dc_pyramid.Pass, inputs: dc_pyramid.Inputs, means: Int32, score: Float32
    ) -> tuple[Int32 | int, Float32]:
        return 0, score

    def dc_done(self) -> None:
        pass

    def half(self, tile: Tile, half: int, means: Int32, score: Float32) -> tuple[Int32 | int, Float32]:
        return 0, score

    def half_done(self, tile: Tile, half: int, residuals: Int32) -> None:
        pass


class DcContext:
    """Corrects the predictions of DCs."""

    def __init__(self, network: ContextNetwork, step: int) -> None:
        self.network = network
        self.step = step_inputs(step)

    def dc_pass(
        self, this: dc_pyramid.Pass, inputs: dc_pyramid.Inputs, means: Int32, score: Float32
    ) -> tuple[Int32 | int, Float32]:
        layers = self.network.passes.get(this.name)
        if layers is None:
            return 0, score
        clamp_score(score)
        first, second, out = layers
        hidden = hidden_units(first, dc_features(inputs, means, score, self.step))
        return _split(out(hidden_units(second, hidden)), score)


class Context(DcContext):
    """The states of one tile group as it is coded."""

    def __init__(self, network: ContextNetwork, grid: Grid, step: int) -> None:
        super().__init__(network, step)
        self.grid = grid
        self.states: list[tuple[Float32, Float32]] = []
        """Of luma and chroma, each of both halves: [W, n]."""
        self.values = np.zeros((0, 0, 0), np.float32)

    def dc_done(self) -> None:
        step, (h, w) = self.step[:, None], (self.grid.h, self.grid.w)
        for bank in range(min(self.grid.layout.components, 2)):
            rows = dc_differences(self.grid.latents[bank : 2 * bank + 1].reshape(-1, h, w))
            states = []
            for half, cells in enumerate(self.grid.halves):
                own = np.empty((len(rows), len(cells)), np.float32)
                self.grid.take(rows, half, own)
                state = self.network.dc[bank] @ own
                state += self.network.step[bank] @ step
                states.append(state)
            self.states.append((states[0], states[1]))

    def half(self, tile: Tile, half: int, means: Int32, score: Float32) -> tuple[Int32 | int, Float32]:
        if tile.number >= TILES:
            return 0, score
        clamp_score(score)
        weights, bank = self.network.tiles[tile.number], min(tile.component, 1)
        states = [state[half] for state in self.states[: bank + 1]]
        if half == 0:
            self.values = np.zeros((2 * tile.size, self.grid.h + 2 * MARGIN, self.grid.w + 2 * MARGIN), np.float32)
        else:
            states[bank] = states[bank] + weights.own @ self._columns(CROSS, half)
        width = sum(map(len, states))
        x = np.empty((width + 1 + len(means), len(score)), np.float32)
        first = 0
        for state in states:
            unit(state, x[first : first + len(state)])
            first += len(state)
        np.floor(score * np.float32(1 / 4096), out=x[width])
        x[width + 1 :] = feature(means)
        return _split(weights.out[half](hidden_units(weights.hidden[half], x)), score)

    def half_done(self, tile: Tile, half: int, residuals: Int32) -> None:
        if tile.number >= TILES:
            return
        cells = self.grid.halves[half]
        inner = self.values[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        found = np.concatenate([feature(self.grid.latents[tile.channels].take(cells, axis=1)), np.abs(feature(residuals))])
        inner[:, cells // self.grid.w, cells % self.grid.w] = found
        if half == 1 and self.values.any():  # high bands are often silent
            weights, taps = self.network.tiles[tile.number].state, taps_of(tile)
            for number, state in enumerate(self.states[min(tile.component, 1)]):
                state += weights @ self._columns(taps, number)

    def _columns(self, taps: tuple[tuple[int, int], ...], half: int) -> Float32:
        """The values of the tile at places around every cell of a half, float32 [taps 2 T, n]."""
        h, w = self.grid.h, self.grid.w
        found = np.empty((len(taps), len(self.values), len(self.grid.halves[half])), np.float32)
        for (y, x), own in zip(taps, found, strict=True):
            self.grid.take(self.values[:, MARGIN + y : MARGIN + y + h, MARGIN + x : MARGIN + x + w], half, own)
        return found.reshape(len(taps) * len(self.values), found.shape[2])


def dc_features(inputs: dc_pyramid.Inputs, means: Int32, score: Float32, step: Float32) -> Float32:
    """Inputs of a DC pass's network, float32 [rows, n]."""
    rows = feature(inputs.mean.astype(np.int32))
    n = rows.shape[1]
    return np.concatenate(
        [
            rows,
            np.abs(rows),
            np.floor(inputs.scale * np.float32(0.5)),
            np.floor(score * np.float32(1 / 4096))[None],
            feature(means),
            np.broadcast_to(step[:, None], (3, n)),
        ]
    )


def dc_differences(planes: Int16) -> Float32:
    """Features of the differences of the DCs around to a cell's own, of planes [P, h, w]: float32 [2 * 24 P, h, w].

    Signed ones of all planes come first, then their sizes.
    """
    h, w = planes.shape[1:]
    padded = np.pad(planes.astype(np.int32), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="edge")
    middle = padded[:, MARGIN : MARGIN + h, MARGIN : MARGIN + w]
    around = [padded[:, MARGIN + y : MARGIN + y + h, MARGIN + x : MARGIN + x + w] - middle for y, x in DC_AROUND]
    found = feature(np.stack(around, axis=1)).reshape(-1, h, w)
    return np.concatenate([found, np.abs(found)])


def _split(out: Float32, score: Float32) -> tuple[Int32 | int, Float32]:
    """Outputs [1 or 1 + T, n] to what is added to means, int32 [T, n] or 0, and the corrected score."""
    score += out[0]
    if len(out) == 1:
        return 0, score
    added = np.floor((out[1:] + np.float32(1 << (MEAN_OUT_SHIFT - 1))) * np.float32(1.0 / (1 << MEAN_OUT_SHIFT)))
    return added.astype(np.int32), score
