"""Numpy inference of a model's networks on the grid of cells.

The *synthesis* restores what the quantiser lost: from what was decoded of a cell and its surroundings it predicts, in units
of the step, what to add to every coefficient, high chroma that was never coded included. It is residual and its last layer
starts at zero, so an untrained one changes nothing (He et al. 2016; DESIGN: start from the classical solution). Its blocks
mix places and channels in turn (Chollet 2017; Liu et al. 2022), since in 1x1 convolutions nearly all time is in BLAS.

    features: sign(x) log(1 + |x|) of the latents x of the 96 channels of COLOR_4X4, in steps, 0 where a channel is not coded;
        and log(step / 32), of steps to 180                                                            float32 [97, n]
    hidden = head @ features;   n times: hidden += project @ relu(expand @ (depthwise * hidden))
        (* is a 3x3 convolution of every channel by itself, zeros outside; all have biases)
    coefficient = step * (latent + tail @ hidden)                                               192 channels of COLOR_8X8

Floating point, unlike all that parses a file: pixels agree within 1 of 255 between machines. A grey picture has zeros for
chroma and ignores the chroma that comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec import dct
from vqcodec.bands import COLOR_4X4, COLOR_8X8, Layout

Floats = NDArray[np.float32]
UNIT: Final = 16
"""Latents are in 1/16 step."""
SEEN: Final = COLOR_4X4.channels
"""Channels that the network sees."""
FEATURES: Final = SEEN + 1
OUTPUTS: Final = COLOR_8X8.channels
NOISE: Final = 8
"""Channels of noise that a refiner sees: where nothing was coded all cells are alike, and would get the same texture, in a grid."""
GRAIN: Final = 64
"""Waves of luma of which a refiner says how strong a noise they get: texture of which nothing but its strength is known."""
REFINER_OUTPUTS: Final = OUTPUTS + GRAIN
INPUTS: Final = {"synthesis": FEATURES, "refiner": OUTPUTS + FEATURES + NOISE, "denoiser": 2 * OUTPUTS + 1}
"""Of the networks of each kind."""
MIN_STEP: Final = 4.0
"""Grey levels below which nothing is left to restore: the plain decode is used."""
MAX_STEP: Final = 180.0
"""The largest step that networks learn from: of larger ones, which only targets lead to, they are told that they are this large."""
STEP_CENTRE: Final = 32.0
SIGMA_CENTRE: Final = 20.0
LINEAR_DIVISOR: Final = 8.0
"""Of a denoiser's linear inputs, which are large where the picture is not flat."""
POSITIVE: Final = np.float32(0), np.float32(np.inf)
"""Bounds of `clip` for a rectifier: with both bounds of the array's own type it takes a third of the time of np.maximum."""
_STRIP_CELLS: Final = 1 << 14
"""Cells of a strip: memory does not grow with the picture."""
_CHUNK: Final = 512
"""Cells whose activations stay in the cache."""


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Weights and biases of W channels: head [W, inputs], depthwise [blocks, W, 9], expand [blocks, E, W],
    project [blocks, W, E], tail [192, W]. A refiner has the same layers behind more inputs, and 64 outputs more (those made before
    there was grain, none); the encoder and decoder of a token model have them between other inputs and outputs."""

    head: Floats
    head_bias: Floats
    depthwise: Floats
    depthwise_bias: Floats
    expand: Floats
    expand_bias: Floats
    project: Floats
    project_bias: Floats
    tail: Floats
    tail_bias: Floats

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, NDArray[Any]], kind: str = "synthesis", ends: tuple[int, int] | None = None
    ) -> Synthesis:
        """From a model's tensors `synthesis.*`, `refiner.*` or, with numbers of inputs and outputs as `ends`, others, float16.

        Raises KeyError, ValueError.
        """
        inputs, outputs = ends or (INPUTS[kind], OUTPUTS)
        found = cls(*(tensors[f"{kind}.{name}"].astype(np.float32) for name in cls.__dataclass_fields__))
        width, blocks, wide = len(found.head), len(found.expand), found.expand_bias.shape[-1]
        shapes = ((width, inputs), (blocks, width, 9), (blocks, wide, width), (blocks, width, wide), (outputs, width))
        names = iter(cls.__dataclass_fields__)
        for shape in shapes:
            for name, wanted in ((next(names), shape), (next(names), shape[:-1])):  # weights, biases
                array = getattr(found, name)
                if array.shape != wanted or not np.isfinite(array).all():
                    raise ValueError(f"{kind}.{name} is wrong")
        return found

    @property
    def halo(self) -> int:
        """Cells around a cell that it depends on."""
        return len(self.depthwise)

    @property
    def macs_per_pixel(self) -> float:
        """Multiplications of weights, which is all but those of the inverse DCT."""
        layers = (self.head, self.depthwise, self.expand, self.project, self.tail)
        return sum(layer.size for layer in layers) / 64


@cache  # made when it is needed: a model without networks does without
def _compressed() -> Floats:
    """sign(x) log(1 + |x|) of the integers x of 16 bits, in 1/16, in the order of their unsigned patterns."""
    x = np.arange(1 << 16).astype(np.uint16).view(np.int16) / UNIT
    return np.copysign(np.log1p(np.abs(x)), x).astype(np.float32)


def features(latents: NDArray[np.int16], layout: Layout, step: float) -> Floats:
    """Inputs float32 [97, n] of latents int16 [C, n]; `step` in grey levels."""
    out = np.zeros((FEATURES, latents.shape[1]), np.float32)
    own, inputs = shared_channels(layout, COLOR_4X4)
    out[inputs] = _compressed().take(latents[own].view(np.uint16))
    out[-1] = np.log(min(step, MAX_STEP) / STEP_CENTRE)
    return out


def refiner_features(
    base: Floats, latents: NDArray[np.int16], layout: Layout, step: float, columns: int, corner: tuple[int, int]
) -> Floats:
    """Inputs float32 [297, n] of a refiner, for decoded coefficients float32 [C', n] in grey levels and what they came from.

    They are of whole rows of `columns` cells, the first of which is the cell `corner` (row, column) of the picture.
    """
    full = COLOR_8X8 if layout.components == 3 else layout
    out = np.zeros((INPUTS["refiner"], latents.shape[1]), np.float32)
    x = base * np.float32(1 / step)
    out[shared_channels(full, COLOR_8X8)[1]] = np.copysign(np.log1p(np.abs(x)), x)
    out[OUTPUTS:-NOISE] = features(latents, layout, step)
    out[-NOISE:] = noise(corner, latents.shape[1] // columns, columns).reshape(NOISE, -1)
    return out


def denoiser_features(noisy: Floats, sigma: float) -> Floats:
    """Inputs float32 [385, rows, columns] of a denoiser, for coefficients [192, rows, columns] of overlapping waves of a noisy
    picture, and the noise's standard deviation, both in grey levels: linear, and as the synthesis has them; and log(sigma / 20)."""
    x = noisy * np.float32(1 / sigma)
    level = np.full((1, *x.shape[1:]), np.log(sigma / SIGMA_CENTRE), np.float32)
    return np.concatenate([x * np.float32(1 / LINEAR_DIVISOR), np.copysign(np.log1p(np.abs(x)), x), level])


def noise(corner: tuple[int, int], rows: int, columns: int, channels: range = range(NOISE)) -> Floats:
    """Noise float32 [channels, rows, columns], uniform, of mean 0 and variance 1, that depends on a cell's place in the picture and
    on the channel's number alone: every decode of it, whole or of a region, is the same. By the mixing of MurmurHash3 (Appleby
    2011)."""
    row = np.arange(corner[0], corner[0] + rows, dtype=np.uint32)[:, None] * np.uint32(0x9E3779B1)
    column = np.arange(corner[1], corner[1] + columns, dtype=np.uint32) * np.uint32(0x85EBCA6B)
    numbers = np.arange(channels.start + 1, channels.stop + 1, dtype=np.uint32)
    bits = (row ^ column) + numbers[:, None, None] * np.uint32(0xC2B2AE35)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits ^= bits >> np.uint32(shift)
        bits *= np.uint32(factor)
    bits ^= bits >> np.uint32(16)
    return (bits.astype(np.float32) * np.float32(2**-32) - np.float32(0.5)) * np.float32(12**0.5)


def grain(corner: tuple[int, int], rows: int, columns: int) -> Floats:
    """The noise float32 [GRAIN, rows, columns] that becomes grain; none of it is among a refiner's inputs."""
    return noise(corner, rows, columns, range(NOISE, NOISE + GRAIN))


def shared_channels(layout: Layout, other: Layout) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The channels that two layouts share: their numbers in `layout`, and those in `other`."""
    place = {position: channel for channel, position in enumerate(other.positions)}
    pairs = [(channel, place[position]) for channel, position in enumerate(layout.positions) if position in place]
    own, others = np.array(pairs, np.intp).T
    return own, others


Rows = tuple[int, int]
"""Rows of cells, from the first to the one behind the last."""


def correct(network: Synthesis, x: Floats, kept: Rows | None = None) -> Floats:
    """Inputs [C, rows, columns] to corrections [192, n, columns] in steps, or to other outputs, of the n rows that are kept, or of
    all; the outside is zeros."""
    rows, width = x.shape[1], x.shape[2] + 2
    first, last = kept or (0, rows)
    hidden = head(network, x)
    for number in range(len(network.expand)):
        reach = len(network.expand) - 1 - number  # what later blocks see of the rows around
        hidden = block(network, number, hidden, width, (max(0, first - reach), min(rows, last + reach)))
    return tail(network, hidden, width, (first, last))


def head(network: Synthesis, x: Floats) -> Floats:
    """Inputs [C, rows, columns] to hidden channels [W, (rows + 2) * (columns + 2)], with zeros around the grid."""
    _, rows, columns = x.shape
    hidden = np.zeros((len(network.head), rows + 2, columns + 2), np.float32)
    hidden[:, 1:-1, 1:-1] = (network.head @ x.reshape(len(x), -1) + network.head_bias[:, None]).reshape(-1, rows, columns)
    return hidden.reshape(len(hidden), -1)


def block(
    network: Synthesis, number: int, hidden: Floats, width: int, rows: Rows, watch: Callable[[Floats], None] | None = None
) -> Floats:
    """Hidden channels before a block to those behind it in some rows, 0 elsewhere; `width` is that of a row with its zeros.

    `watch` sees the rectified channels of every chunk of cells.
    """
    after = np.zeros_like(hidden)
    taps, expand, project = network.depthwise[number], network.expand[number], network.project[number]
    biases = network.expand_bias[number] + expand @ network.depthwise_bias[number]
    for cells in chunks(rows, width):
        wide = expand @ mixed(hidden, taps, width, cells)
        wide += biases[:, None]
        wide.clip(*POSITIVE, out=wide)
        if watch:
            watch(wide)
        out = project @ wide
        out += network.project_bias[number][:, None]
        np.add(out, hidden[:, cells], out=after[:, cells])
    clear_sides(after, width)
    return after


def chunks(rows: Rows, width: int) -> Iterator[slice]:
    """The cells of some rows, a few at a time, in hidden channels with zeros around the grid; those at the sides come along."""
    first, last = (1 + rows[0]) * width + 1, (1 + rows[1]) * width - 1
    for start in range(first, last, _CHUNK):
        yield slice(start, min(start + _CHUNK, last))


def mixed(hidden: Floats, taps: Floats, width: int, cells: slice) -> Floats:
    """A 3x3 convolution of every channel by itself, `taps` [W, 9], at some cells."""
    found = taps[:, 4, None] * hidden[:, cells]
    for tap in (0, 1, 2, 3, 5, 6, 7, 8):
        shift = (tap // 3 - 1) * width + tap % 3 - 1
        found += taps[:, tap, None] * hidden[:, cells.start + shift : cells.stop + shift]
    return found


def clear_sides(hidden: Floats, width: int) -> None:
    """Zeros again left and right of the grid."""
    hidden.reshape(len(hidden), -1, width)[:, :, :: width - 1] = 0


def tail(network: Synthesis, hidden: Floats, width: int, kept: Rows) -> Floats:
    """Hidden channels to outputs [192, n, columns], or others, of the rows that are kept."""
    middle = np.ascontiguousarray(hidden.reshape(len(hidden), -1, width)[:, 1 + kept[0] : 1 + kept[1], 1:-1])
    result: Floats = network.tail @ middle.reshape(len(middle), -1) + network.tail_bias[:, None]
    return result.reshape(-1, *middle.shape[1:])


class Correct(Protocol):
    """What runs a network: inputs [C, rows, columns] to corrections [192, n, columns], as `correct` does."""

    def __call__(self, x: Floats, kept: Rows | None = None) -> Floats: ...


DEFAULT_STRENGTH: Final = 0.7
_FULL_STEP: Final = 60.0
_NO_STEP: Final = 13.0
"""Steps in grey levels from which on a refiner has its default strength, and below which it has none: 0.2 and 1 bit per pixel."""
_EMPHASIS: Final = {0: (0.0, 4.4), 1: (0.0, 0.6), 2: (0.0, 0.6)}
_EMPHASIS_FREQUENCIES: Final = (1.5, 5)
"""What lowest and highest waves of a component that a refiner adds are multiplied by, from which larger one of their two
frequencies to which."""
_GRAIN_EMPHASIS: Final = (0.0, 8.0)
_GRAIN_FREQUENCIES: Final = (3, 7)
"""The same of its grain."""
_REPEATED_FROM: Final = 3
REPEATED_WITHIN: Final = 2
"""Waves of which larger frequency lose what repeats from cell to cell, and within how many cells to each side."""
REFINER_REACH: Final = 1 + REPEATED_WITHIN
"""Cells around a cell that what is added there depends on, besides those that the network sees: its waves overlap, too."""
Restored = Callable[[Rows], Floats]
"""What decodes some rows of cells to coefficients float32 [C', n] in grey levels."""


def strips(halo: int, grid: tuple[int, int], cells: int | None = None) -> list[Rows]:
    """The strips, of about so many cells, in which a picture is synthesised; `halo` rows are done twice."""
    h, w = grid
    rows = max(2 * halo, 1, (cells or _STRIP_CELLS) // w)
    return [(top, min(h, top + rows)) for top in range(0, h, rows)]


def synthesise(
    run: Correct,
    halo: int,
    latents: NDArray[np.int16],
    step: float,
    grid: tuple[int, int],
    layout: Layout,
    rows: Rows,
) -> Floats:
    """Coefficients float32 [C', n] in grey levels of some rows of cells, with the `halo` rows around them taken into account.

    `latents` int16 [C, h * w] are of the whole picture. C' is that of COLOR_8X8, or of the layout for a grey one.
    """
    h, w = grid
    top, bottom = max(0, rows[0] - halo), min(h, rows[1] + halo)
    full = COLOR_8X8 if layout.components == 3 else layout
    inputs = features(latents[:, top * w : bottom * w], layout, step)
    correction = run(inputs.reshape(FEATURES, bottom - top, w), (rows[0] - top, rows[1] - top))
    kept = correction.reshape(OUTPUTS, -1)
    out = np.ascontiguousarray(kept[shared_channels(full, COLOR_8X8)[1]])
    out[: layout.channels] += latents[:, rows[0] * w : rows[1] * w] * np.float32(1 / UNIT)
    out *= np.float32(step)
    return out


@lru_cache(maxsize=1)
def lapped_basis() -> Floats:
    """Waves of the modulated lapped transform (Malvar 1990), orthonormal: float32 [16 samples, 8 frequencies] of a cell and the
    four pixels on either side of it, where they fade."""
    n, k = np.arange(16)[:, None] + 0.5, np.arange(8)[None, :] + 0.5
    return (0.5 * np.sin(n * np.pi / 16) * np.cos((n + 4) * k * np.pi / 8)).astype(np.float32)


@lru_cache(maxsize=1)
def _lapped_parts() -> tuple[Floats, Floats, Floats]:
    """What the waves of a cell are in the DCT of the cell before it, of itself, and of the one behind it: float32 [8, 8] each."""
    waves, frequencies = lapped_basis(), (dct.basis() / (1 << dct.BASIS_SHIFT)).astype(np.float32)
    return frequencies[:, 4:] @ waves[:4], frequencies @ waves[4:12], frequencies[:, :4] @ waves[12:]


def from_lapped(x: Floats) -> Floats:
    """Coefficients [192, rows, columns] of overlapping waves to those of the DCT, so that no block shows its edges."""
    return _between(x, _lapped_parts())


def to_lapped(x: Floats) -> Floats:
    """The inverse of `from_lapped`, but for the outermost cells, whose waves reach out of what is given."""
    before, own, behind = _lapped_parts()
    return _between(x, (behind.T, own.T, before.T))


def _between(x: Floats, parts: tuple[Floats, Floats, Floats]) -> Floats:
    places = [64 * component + 8 * v + u for component, v, u in COLOR_8X8.positions]
    cells = np.empty(x.shape, np.float32)
    cells[places] = x
    grid = x.shape[1:]
    cells = _overlap(cells.reshape(24, 8, *grid), parts, axis=3)
    cells = _overlap(cells.reshape(3, 8, 8, *grid), parts, axis=3)
    result: Floats = cells.reshape(x.shape)[places]
    return result


def _overlap(cells: Floats, parts: tuple[Floats, Floats, Floats], axis: int) -> Floats:
    """Coefficients [n, 8, ...] of cells to those of the other transform, along the one of the axes on which they lie beside each
    other; `parts` are what those of a cell are in the cell before it, in itself, and in the one behind it."""
    flat = cells.reshape(len(cells), 8, -1)
    before, own, behind = (np.moveaxis((part @ flat).reshape(cells.shape), axis, 0) for part in parts)
    own[:-1] += before[1:]
    own[1:] += behind[:-1]
    return np.moveaxis(own, 0, axis)


def plain(latents: NDArray[np.int16], step: float, grid: tuple[int, int], layout: Layout, rows: Rows) -> Floats:
    """As `synthesise`, without a network: the latents themselves, and zeros for what was never coded."""
    given = latents[:, rows[0] * grid[1] : rows[1] * grid[1]]
    out = np.zeros(((COLOR_8X8 if layout.components == 3 else layout).channels, given.shape[1]), np.float32)
    out[: len(given)] = given * np.float32(step / UNIT)
    return out


@cache
def emphasis() -> Floats:
    """What the waves that a refiner adds are multiplied by, float32 [192, 1, 1].

    Low ones are where similarity is lost, as they move edges and shades that the decode has; high ones of luma are what it lacks.
    """
    weights = [np.interp(max(v, u), _EMPHASIS_FREQUENCIES, _EMPHASIS[component]) for component, v, u in COLOR_8X8.positions]
    return np.array(weights, np.float32)[:, None, None]


@cache
def repeatable() -> NDArray[np.intp]:
    """Waves whose mean over the cells around is the lattice's doing."""
    return np.flatnonzero([max(v, u) >= _REPEATED_FROM for _, v, u in COLOR_8X8.positions])


@cache
def grained() -> NDArray[np.intp]:
    """Waves that get grain: those of luma, in the order of a refiner's last outputs."""
    return np.flatnonzero([component == 0 for component, _, _ in COLOR_8X8.positions])


@cache
def grain_emphasis() -> Floats:
    """What a refiner's grain is multiplied by, float32 [GRAIN, 1, 1]."""
    larger = [max(v, u) for component, v, u in COLOR_8X8.positions if component == 0]
    return np.interp(larger, _GRAIN_FREQUENCIES, _GRAIN_EMPHASIS).astype(np.float32)[:, None, None]


def refined_waves(found: Floats, corner: tuple[int, int]) -> Floats:
    """Waves [192, rows, columns] that the outputs [256, rows, columns] of a refiner add, in steps: its own as `weigh` has them, and
    noise, of which it says the deviation; `corner` is the place of the first cell in the picture. Old refiners have no grain."""
    waves = weigh(found[:OUTPUTS])
    if len(found) > OUTPUTS:
        waves[grained()] += grain_emphasis() * found[OUTPUTS:] * grain(corner, *found.shape[1:])
    return waves


def weigh(correction: Floats) -> Floats:
    """Waves [192, rows, columns] of a refiner as they are added: by `emphasis`, and without what repeats from cell to cell, which
    is seen as a screen of dots: the mean of high ones over 5x5 cells (at edges the outermost count again)."""
    waves = emphasis() * correction
    side, mean = 2 * REPEATED_WITHIN + 1, waves[repeatable()]
    for axis in (1, 2):
        own = np.moveaxis(mean, axis, 0)
        padded = np.pad(own, ((REPEATED_WITHIN, REPEATED_WITHIN), (0, 0), (0, 0)), mode="edge")
        mean = np.moveaxis(np.add.reduce([padded[i : i + len(own)] for i in range(side)]), 0, axis)
    waves[repeatable()] -= mean * np.float32(1 / side**2)
    return waves


def sharpen(
    run: Correct,
    halo: int,
    restored: Restored,
    latents: NDArray[np.int16],
    step: float,
    grid: tuple[int, int],
    layout: Layout,
    strength: float,
    corner: tuple[int, int],
    rows: Rows,
) -> Floats:
    """Coefficients of some rows of cells as they are `restored`, and `strength` (0..1) of what the refiner `run` adds to them.
    `corner` is the place of the first cell in the picture.

    DCs, which are the means of the blocks, stay as they are: no colour moves.
    """
    h, w = grid
    top, bottom = max(0, rows[0] - halo), min(h, rows[1] + halo)
    around = restored((top, bottom))
    inputs = refiner_features(around, latents[:, top * w : bottom * w], layout, step, w, (corner[0] + top, corner[1]))
    first, last = max(0, rows[0] - REFINER_REACH), min(h, rows[1] + REFINER_REACH)
    correction = run(inputs.reshape(len(inputs), bottom - top, w), (first - top, last - top))
    waves = refined_waves(correction, (corner[0] + first, corner[1]))
    kept = from_lapped(waves)[:, rows[0] - first : rows[1] - first].reshape(OUTPUTS, -1)
    out = np.ascontiguousarray(around[:, (rows[0] - top) * w : (rows[1] - top) * w])
    full, dcs = COLOR_8X8 if layout.components == 3 else layout, layout.components
    out[dcs:] += np.float32(strength * step) * kept[shared_channels(full, COLOR_8X8)[1][dcs:]]
    return out


def default_strength(step: float) -> float:
    """How much of what a refiner adds is added, by the step in grey levels: 0.7 from 60 on, falling to 0 at 13."""
    share = np.log(step / _NO_STEP) / np.log(_FULL_STEP / _NO_STEP)
    return DEFAULT_STRENGTH * float(np.clip(share, 0, 1))


def sparing(run: Correct, here: Correct, halo: int, tell: Callable[[str], None]) -> Correct:
    """`run`, which raises MemoryError where there is too little; then halves, and at last `here`, and `tell` says so.

    `halo` is the network's: the rows around a half that it sees besides.
    """

    def correct(x: Floats, kept: Rows | None = None) -> Floats:
        first, last = kept or (0, x.shape[1])
        try:
            return run(x, (first, last))
        except MemoryError:
            if x.shape[1] < 4 * halo:
                tell("too little memory on the GPU: a network ran on the CPU")
                return here(x, (first, last))
        tell("too little memory on the GPU: a network ran in smaller strips")
        middle = (first + last) // 2
        below = max(0, middle - halo)
        halves = (x[:, : middle + halo], (first, middle)), (x[:, below:], (middle - below, last - below))
        return np.concatenate([correct(*half) for half in halves], axis=1)

    return correct
