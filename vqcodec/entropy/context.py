"""The context network: corrections of the linear predictions of linear.py and dc_pyramid.py, in exact integers.

The network sees more than the linear maps, through two layers of clamped units, and so tells edges and textures from noise. It adds
to each score and, where a tile has a predicted mean, to each mean. The features of the linear predictors stay as they are, so a
network of zeros changes nothing and training starts from the linear predictions. All values are integers held in float32;
`ContextNetwork.check` proves that no sum leaves the 24 bits in which they are exact in any order of summation, on any device.

The formulas are section 5.4 of the specification (container.py). Two *states*, of luma and of chroma, gather decoded values for
each cell; luma never depends on chroma. For each half of a tile, two layers turn the states into corrections. Each DC pass of the
two finest levels has its own network with two hidden layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Float32, Int16, Int32, Intp
from vqcodec.entropy import dc_pyramid, linear
from vqcodec.entropy.features import Grid, log16
from vqcodec.entropy.layers import UNIT_BOUNDS, UNIT_SHIFT, Layer, reach_of, require, unit
from vqcodec.entropy.linear import CLASSES, FLOAT32_EXACT, SCALE_SHIFT
from vqcodec.transform.layouts import COLOR_4X4, Tile

MEAN_OUT_SHIFT: Final = 10
"""Corrections of means come out in 1/2**MEAN_OUT_SHIFT of 1/16 step."""
TILES: Final = len(COLOR_4X4.tiles)
"""Number of tiles that the network corrects. The further tiles of the largest layout have linear predictions only."""
DC_LEVELS: Final = 2
"""Number of levels of the DC pyramid, from the finest on, that have networks."""
WIDE_TILES: Final = 7
"""Number of tiles, in coding order, whose values enter the states of 5x5 cells; those of later tiles enter 3x3 cells."""
NEAR: Final = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
WIDE: Final = tuple((y, x) for y in (-2, -1, 0, 1, 2) for x in (-2, -1, 0, 1, 2))
CROSS: Final = ((0, -1), (0, 1), (-1, 0), (1, 0))
DC_AROUND: Final = tuple(place for place in WIDE if place != (0, 0))
MARGIN: Final = 2
"""Cells of padding around a plane: the reach of WIDE."""
_MOST_COPIED: Final = 0.6
"""Share of the cells above which all are computed instead of copies of some."""
_CHUNK: Final = 1024
"""Cells whose states, and what is computed from them, fit in the cache."""
SCORE_MAX: Final = (CLASSES << SCALE_SHIFT) - 1
_SCORE_INPUT: Final = np.float32(1 / 4096)
"""Factor of a score as an input of a layer: quarters of a class."""
_SCORE_BOUNDS: Final = np.float32(0), np.float32(SCORE_MAX)
_LATENT_RANGE: Final = 1 << 16


@cache  # on first use: models without a context network never need it
def _feature_table() -> Float32:
    """Features of -_LATENT_RANGE.._LATENT_RANGE, an odd function; float32 [2 * _LATENT_RANGE + 1]."""
    above = (log16(np.arange(_LATENT_RANGE + 1) + 4) - 32) >> 1
    return np.concatenate([-above[:0:-1], above]).astype(np.float32)


def feature(latents: NDArray[np.signedinteger[Any]]) -> Float32:
    """Features float32 of latents or of differences of latents (integers in 1/16 step)."""
    return _feature_table().take(np.add(latents, _LATENT_RANGE, dtype=np.intp), mode="clip")


def step_inputs(step_64: int) -> Float32:
    """Inputs E of container.py, 5.4, for a quantiser step, float32 [3]: integers of at most UNIT_MAX."""
    level = int(log16(step_64)) - 176
    return np.array([32, level >> 1, level * level >> 8], np.float32)


def taps_of(tile: Tile) -> tuple[tuple[int, int], ...]:
    """Offsets (row, column) of the cells around a cell whose values of a tile enter its state."""
    return WIDE if tile.number < WIDE_TILES else NEAR


def outputs_of(tile: Tile) -> int:
    """Number of outputs for a tile: the score and, if the tile has a predicted mean, one for each coefficient."""
    before = sum(other.component == tile.component for other in COLOR_4X4.tiles[: tile.number])
    return 1 + (tile.size if linear.has_mean(tile, before) else 0)


def dc_pass_names() -> list[str]:
    """Names of the passes of the DC pyramid that have a network."""
    return [key.name for component in range(3) for key in dc_pyramid.pass_keys(component) if key.level < DC_LEVELS]


def dc_inputs_of(name: str) -> int:
    """Number of inputs of the network of a DC pass."""
    key = dc_pyramid.PassKey.parse(name)
    return (
        2 * dc_pyramid.MEAN_ROWS[key.component][key.number] + dc_pyramid.SCALE_ROWS[key.component] + 2 + 3
    )  # score, mean; step inputs


@dataclass(frozen=True, eq=False)
class TileWeights:
    """Weights of one tile: `state` float32 [W, 2 T taps], `own` float32 [W, 8 T], and a `hidden` and an `out` layer for each
    half."""

    state: Float32
    own: Float32
    hidden: tuple[Layer, Layer]
    out: tuple[Layer, Layer]


@dataclass(frozen=True, eq=False)
class DcLayers:
    """The layers of a DC pass's network."""

    first: Layer
    second: Layer
    out: Layer


@dataclass(frozen=True, eq=False)
class ContextNetwork:
    """The weights in a model's tensors `context.*`.

    `dc_weights` float32 [W, 48 or 96] and `step_weights` float32 [W, 3] start the states of luma and of chroma. `tiles` holds the
    weights of each tile, and `passes` the layers of each DC pass by name. All weights of states and hidden layers are divided by
    2**shift, so that units need no shift. The division changes only exponents: sums stay exact.
    """

    dc_weights: tuple[Float32, Float32]
    step_weights: tuple[Float32, Float32]
    tiles: tuple[TileWeights, ...]
    passes: Mapping[str, DcLayers]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> ContextNetwork:
        """The network in a model's tensors. Raises KeyError, ValueError, ModelError."""
        read = _Reader(tensors)
        tiles = [
            TileWeights(
                read.weights(f"{name}.state"),
                read.weights(f"{name}.own"),
                read.halves(f"{name}.hidden"),
                read.halves(f"{name}.out"),
            )
            for name in (f"tile.{tile.number:02d}" for tile in COLOR_4X4.tiles)
        ]
        passes = {
            name: DcLayers(read.layer(f"{name}.first"), read.layer(f"{name}.second"), read.layer(f"{name}.out"))
            for name in dc_pass_names()
        }
        dc_weights = read.weights("luma.dc"), read.weights("chroma.dc")
        step_weights = read.weights("luma.step"), read.weights("chroma.step")
        found = cls(dc_weights, step_weights, tuple(tiles), passes)
        found.check()
        return found._divided(int(tensors["context.shift"].reshape(1)[0]))

    def _divided(self, shift: int) -> ContextNetwork:
        """This network of integers with the weights of units divided.

        Those of the states are divided by 2**`shift`: with UNIT_SHIFT as in the other layers, sums of that many weights would not
        be exact. Raises ModelError.
        """
        require(1 <= shift <= UNIT_SHIFT, "context.shift", "is not 1 to 10")
        one, state = 1 << UNIT_SHIFT, np.float32(1 << shift)
        tiles = [
            TileWeights(tile.state / state, tile.own / state, (tile.hidden[0] / one, tile.hidden[1] / one), tile.out)
            for tile in self.tiles
        ]
        passes = {name: DcLayers(layers.first / one, layers.second / one, layers.out) for name, layers in self.passes.items()}
        dc_weights, step_weights = ((luma / state, chroma / state) for luma, chroma in (self.dc_weights, self.step_weights))
        return ContextNetwork(dc_weights, step_weights, tuple(tiles), passes)

    def check(self) -> None:
        """Raise ModelError unless all shapes are right and every sum of integers is exact in float32, whatever the features are."""
        self._check_tiles()
        for name, layers in self.passes.items():
            layers.first.check(f"context.{name}.first", (len(layers.first.weights), dc_inputs_of(name)), FLOAT32_EXACT)
            layers.second.check(f"context.{name}.second", (len(layers.second.weights), len(layers.first.weights)), FLOAT32_EXACT)
            layers.out.check(f"context.{name}.out", (2, len(layers.second.weights)), FLOAT32_EXACT // 2)

    def _check_tiles(self) -> None:
        """Raise ModelError unless the states and the layers of the tiles are right; states grow from tile to tile."""
        widths, reach = [], []
        for dcs, steps, planes in zip(self.dc_weights, self.step_weights, (1, 2), strict=True):
            width = len(dcs)
            shapes = dcs.shape, steps.shape
            require(shapes == ((width, 2 * len(DC_AROUND) * planes), (width, 3)), "context.dc", "has a wrong shape")
            widths.append(width)
            reach.append(reach_of(dcs, 0) + reach_of(steps, 0))
        for tile, given in zip(COLOR_4X4.tiles, self.tiles, strict=True):
            name, bank = f"context.tile.{tile.number:02d}", min(tile.component, 1)
            shapes = (widths[bank], 2 * tile.size * len(taps_of(tile))), (widths[bank], 8 * tile.size)
            require((given.state.shape, given.own.shape) == shapes, name, "has a wrong shape")
            worst = reach[bank] + reach_of(given.own, 0)
            reach[bank] = reach[bank] + reach_of(given.state, 0)
            require(max(worst.max(), reach[bank].max()) < FLOAT32_EXACT, name, "is too large to be exact")
            inputs = sum(widths[: bank + 1]) + 1 + tile.size
            for hidden, out in zip(given.hidden, given.out, strict=True):
                hidden.check(f"{name}.hidden", (len(hidden.weights), inputs), FLOAT32_EXACT)
                out.check(f"{name}.out", (outputs_of(tile), len(hidden.weights)), FLOAT32_EXACT // 2)

    @property
    def macs_per_pixel(self) -> float:
        """Multiply-accumulate operations per pixel of a colour picture with 4x4 chroma."""
        each_cell = sum(weights.size for weights in (*self.dc_weights, *(tile.state for tile in self.tiles)))
        halves = [tile.own.size + sum(layer.weights.size for layer in (*tile.hidden, *tile.out)) for tile in self.tiles]
        passes = []
        for name, layers in self.passes.items():
            size = sum(layer.weights.size for layer in (layers.first, layers.second, layers.out))
            passes.append(size / 4 ** (1 + dc_pyramid.PassKey.parse(name).level))
        return (each_cell + sum(halves) / 2 + sum(passes)) / 64


class _Reader:
    """Reads the tensors `context.*` and checks their types. Raises KeyError, ValueError."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.tensors = tensors

    def weights(self, name: str) -> Float32:
        array = self.tensors[f"context.{name}"]
        if array.dtype != np.int16 or array.ndim < 1:
            raise ValueError(f"context.{name} is not int16")
        return array.astype(np.float32)

    def bias(self, name: str) -> Float32:
        array = self.tensors[f"context.{name}_bias"]
        if array.dtype != np.int32:
            raise ValueError(f"context.{name}_bias is not int32")
        return array.astype(np.float32)

    def layer(self, name: str) -> Layer:
        return Layer(self.weights(name), self.bias(name))

    def halves(self, name: str) -> tuple[Layer, Layer]:
        """The layers of the even and of the odd half."""
        both, bias = self.weights(name), self.bias(name)
        if both.ndim != 3 or len(both) != 2 or bias.shape != both.shape[:2]:
            raise ValueError(f"context.{name} has a wrong shape")
        return Layer(both[0], bias[0]), Layer(both[1], bias[1])


def clamp_score(score: Float32) -> Float32:
    """Clamp linear scores, in place, to the range in which corrections are added exactly."""
    return score.clip(*_SCORE_BOUNDS, out=score)


class Corrected(NamedTuple):
    """Corrections `added` to linear means, int32 [T, n] in 1/16 step or 0 for none, and corrected scores, float32 [n]."""

    added: Int32 | int
    score: Float32


class DcCorrector(Protocol):
    """Corrects the linear predictions of DCs."""

    def dc_pass(self, dc_pass: dc_pyramid.Pass, inputs: dc_pyramid.Inputs, means: Int32, score: Float32) -> Corrected:
        """The correction of linear means int32 [1, n] (without their base) and linear scores float32 [n]."""
        ...


class Corrector(DcCorrector, Protocol):
    """Corrects the linear predictions of one tile group as its tiles are coded."""

    def dc_done(self) -> None:
        """Initialise the states; to be called once, when all DCs are in `grid.latents`."""
        ...

    def half(self, tile: Tile, half: int, means: Int32, score: Float32) -> Corrected:
        """The correction of linear means int32 [T, n] and linear scores float32 [n] of one half of a tile."""
        ...

    def half_done(self, tile: Tile, half: int, residuals: Int32) -> None:
        """Update the states when one half is in `grid.latents`; `residuals` int32 [T, n] are its differences from linear means."""
        ...


class LinearOnly:
    """The corrector of a model without a context network: corrects nothing."""

    def dc_pass(self, dc_pass: dc_pyramid.Pass, inputs: dc_pyramid.Inputs, means: Int32, score: Float32) -> Corrected:
        return Corrected(0, score)

    def dc_done(self) -> None:
        pass

    def half(self, tile: Tile, half: int, means: Int32, score: Float32) -> Corrected:
        return Corrected(0, score)

    def half_done(self, tile: Tile, half: int, residuals: Int32) -> None:
        pass


class DcContextCorrector:
    """Corrects DCs with a context network."""

    def __init__(self, network: ContextNetwork, step_64: int) -> None:
        self.network = network
        self.step_inputs = step_inputs(step_64)

    def dc_pass(self, dc_pass: dc_pyramid.Pass, inputs: dc_pyramid.Inputs, means: Int32, score: Float32) -> Corrected:
        layers = self.network.passes.get(dc_pass.name)
        if layers is None:
            return Corrected(0, score)
        clamp_score(score)
        hidden = unit(layers.first(dc_features(inputs, means, score, self.step_inputs)))
        return _corrected(layers.out(unit(layers.second(hidden))), score)


class ContextCorrector(DcContextCorrector):
    """Corrects one tile group with a context network; holds its states.

    Cells are rows of the states and of what is multiplied, even cells first: that is the faster order for BLAS, and some cells are
    copied fast. Those whose surroundings are all zero in a tile, as most are in high frequencies, need no product for their state.
    """

    def __init__(self, network: ContextNetwork, grid: Grid, step_64: int) -> None:
        super().__init__(network, step_64)
        self.grid = grid
        self.order = np.concatenate(grid.halves)
        """Cells in the order of the states' rows, intp [h * w]."""
        self.states: list[Float32] = []
        """States of luma and of chroma, float32 [h * w, W] each."""
        self.values = np.zeros((0, 0), np.float32)
        """Features of the current tile's latents, then of its residuals' sizes: float32 [(h + 2 MARGIN) * (w + 2 MARGIN), 2 T]."""
        self.coded = np.zeros(grid.h * grid.w, np.bool_)
        """Cells where not all values of the current tile are zero, bool [h * w]."""
        rows, columns = np.divmod(self.order, grid.w)
        width = grid.w + 2 * MARGIN
        self.places = (rows + MARGIN) * width + columns + MARGIN
        """Rows in `values` of the cells of the states' rows, intp [h * w]."""
        self.offsets = {taps: np.array([y * width + x for y, x in taps]) for taps in (CROSS, NEAR, WIDE)}
        """Differences of these rows to those of other cells, intp [taps]."""

    def dc_done(self) -> None:
        h, w = self.grid.h, self.grid.w
        for bank in range(min(self.grid.layout.components, 2)):
            around = dc_differences(self.grid.latents[bank : 2 * bank + 1].reshape(-1, h, w)).reshape(-1, h * w)
            state = around.T[self.order] @ self.network.dc_weights[bank].T  # float32 [h * w, W]
            state += self.step_inputs @ self.network.step_weights[bank].T
            self.states.append(state)

    def half(self, tile: Tile, half: int, means: Int32, score: Float32) -> Corrected:
        if tile.number >= TILES:
            return Corrected(0, score)
        clamp_score(score)
        weights, bank = self.network.tiles[tile.number], min(tile.component, 1)
        if half == 0:
            self.values = np.zeros(((self.grid.h + 2 * MARGIN) * (self.grid.w + 2 * MARGIN), 2 * tile.size), np.float32)
        others = np.stack([np.floor(score * _SCORE_INPUT), *feature(means)], axis=1)
        width = sum(states.shape[1] for states in self.states[: bank + 1]) + others.shape[1]
        out = np.empty((len(others), outputs_of(tile)), np.float32)
        begin = half * len(self.grid.halves[0])
        for chunk in _chunks(len(others)):
            cells = slice(begin + chunk.start, begin + chunk.stop)
            x = np.empty((chunk.stop - chunk.start, width), np.float32)
            first = 0
            for number, states in enumerate(self.states[: bank + 1]):
                sums = states[cells]  # float32 [n, W]
                if half and number == bank:
                    sums = sums + self._around(self.places[cells], CROSS) @ weights.own.T
                sums.clip(*UNIT_BOUNDS, out=x[:, first : first + sums.shape[1]])
                first += sums.shape[1]
            x[:, first:] = others[chunk]
            np.floor(x, out=x)  # the others are integers
            out[chunk] = weights.out[half](unit(weights.hidden[half](x)))
        return _corrected(out, score)

    def half_done(self, tile: Tile, half: int, residuals: Int32) -> None:
        if tile.number >= TILES:
            return
        cells, begin = self.grid.halves[half], half * len(self.grid.halves[0])
        latents = self.grid.latents[tile.channels].take(cells, axis=1)
        features = np.concatenate([feature(latents), np.abs(feature(residuals))]).T
        self.values[self.places[begin : begin + len(cells)]] = features
        self.coded[cells] = latents.any(axis=0) | residuals.any(axis=0)
        if half == 0:
            return
        taps, state = taps_of(tile), self.states[min(tile.component, 1)]
        near = _dilated(self.coded.reshape(self.grid.h, self.grid.w), MARGIN if taps is WIDE else 1).reshape(-1)[self.order]
        for some in _some(near):
            state[some] += self._around(self.places[some], taps) @ self.network.tiles[tile.number].state.T

    def _around(self, places: Intp, taps: tuple[tuple[int, int], ...]) -> Float32:
        """`values` at the offsets `taps` around the cells at `places` intp [n], float32 [n, taps 2 T]."""
        around = self.values.take(places[:, None] + self.offsets[taps], axis=0)  # float32 [n, taps, 2 T]
        return around.reshape(len(places), around.shape[1] * around.shape[2])


def _chunks(count: int) -> list[slice]:
    """Slices of _CHUNK that cover `count` cells."""
    return [slice(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]


def _some(wanted: Bool) -> Sequence[Intp | slice]:
    """The wanted ones of bool [n] in chunks: indices; slices of all if few are unwanted, as copying the others takes longer."""
    chunks, count = _chunks(len(wanted)), np.count_nonzero(wanted)
    if count >= _MOST_COPIED * len(wanted):
        return chunks
    indices = np.flatnonzero(wanted)
    return [indices[chunk] for chunk in _chunks(len(indices))]


def _dilated(marked: Bool, radius: int) -> Bool:
    """Cells bool [h, w] with a marked one in the square of `radius` cells around them."""
    found = marked
    for _ in range(radius):
        rows = found.copy()
        rows[1:] |= found[:-1]
        rows[:-1] |= found[1:]
        found = rows.copy()
        found[:, 1:] |= rows[:, :-1]
        found[:, :-1] |= rows[:, 1:]
    return found


def dc_features(inputs: dc_pyramid.Inputs, means: Int32, score: Float32, step_rows: Float32) -> Float32:
    """Inputs of a DC pass's network, float32 [n, inputs]; `step_rows` are `step_inputs`."""
    rows = feature(inputs.mean.astype(np.int32))
    n = rows.shape[1]
    return np.concatenate(
        [
            rows,
            np.abs(rows),
            np.floor(inputs.scale * np.float32(0.5)),
            np.floor(score * _SCORE_INPUT)[None],
            feature(means),
            np.broadcast_to(step_rows[:, None], (3, n)),
        ]
    ).T


def dc_differences(planes: Int16) -> Float32:
    """Features of the differences between the 24 DCs around a cell and its own, for planes [P, h, w]: float32 [2 * 24 P, h, w].

    The signed features of all planes come first, then their magnitudes.
    """
    h, w = planes.shape[1:]
    padded = np.pad(planes.astype(np.int32), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="edge")
    middle = padded[:, MARGIN : MARGIN + h, MARGIN : MARGIN + w]
    around = [padded[:, MARGIN + y : MARGIN + y + h, MARGIN + x : MARGIN + x + w] - middle for y, x in DC_AROUND]
    found = feature(np.stack(around, axis=1)).reshape(-1, h, w)
    return np.concatenate([found, np.abs(found)])


def _corrected(out: Float32, score: Float32) -> Corrected:
    """The correction by a network's outputs, float32 [n, 1 or 1 + T]; `score` is changed in place."""
    score += out[:, 0]
    if out.shape[1] == 1:
        return Corrected(0, score)
    added = np.floor((out[:, 1:].T + np.float32(1 << (MEAN_OUT_SHIFT - 1))) * np.float32(1.0 / (1 << MEAN_OUT_SHIFT)))
    return Corrected(added.astype(np.int32), score)
