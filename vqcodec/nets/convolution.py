"""Numpy inference of a model's networks on the grid of cells.

The *synthesis* restores what the quantiser lost: from what was decoded of a cell and its surroundings it predicts, in units
of the step, what to add to every coefficient, high chroma that was never coded included. It is residual and its last layer
starts at zero, so an untrained one changes nothing (He et al. 2016): one starts from the classical solution. Its blocks
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
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Int16, Intp
from vqcodec.runtime import progress
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, Layout

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

    head: Float32
    head_bias: Float32
    depthwise: Float32
    depthwise_bias: Float32
    expand: Float32
    expand_bias: Float32
    project: Float32
    project_bias: Float32
    tail: Float32
    tail_bias: Float32

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
def _compressed() -> Float32:
    """sign(x) log(1 + |x|) of the integers x of 16 bits, in 1/16, in the order of their unsigned patterns."""
    x = np.arange(1 << 16).astype(np.uint16).view(np.int16) / UNIT
    return np.copysign(np.log1p(np.abs(x)), x).astype(np.float32)


def features(latents: Int16, layout: Layout, step: float) -> Float32:
    """Inputs float32 [97, n] of latents int16 [C, n]; `step` in grey levels."""
    out = np.zeros((FEATURES, latents.shape[1]), np.float32)
    own, inputs = shared_channels(layout, COLOR_4X4)
    out[inputs] = _compressed().take(latents[own].view(np.uint16))
    out[-1] = np.log(min(step, MAX_STEP) / STEP_CENTRE)
    return out


def shared_channels(layout: Layout, other: Layout) -> tuple[Intp, Intp]:
    """The channels that two layouts share: their numbers in `layout`, and those in `other`."""
    place = {position: channel for channel, position in enumerate(other.positions)}
    pairs = [(channel, place[position]) for channel, position in enumerate(layout.positions) if position in place]
    own, others = np.array(pairs, np.intp).T
    return own, others


Rows = tuple[int, int]
"""Rows of cells, from the first to the one behind the last."""


def correct(network: Synthesis, x: Float32, kept: Rows | None = None) -> Float32:
    """Inputs [C, rows, columns] to corrections [192, n, columns] in steps, or to other outputs, of the n rows that are kept, or of
    all; the outside is zeros."""
    rows, width = x.shape[1], x.shape[2] + 2
    first, last = kept or (0, rows)
    hidden = head(network, x)
    for number in progress.steps(range(len(network.expand))):
        reach = len(network.expand) - 1 - number  # what later blocks see of the rows around
        hidden = block(network, number, hidden, width, (max(0, first - reach), min(rows, last + reach)))
    return tail(network, hidden, width, (first, last))


def head(network: Synthesis, x: Float32) -> Float32:
    """Inputs [C, rows, columns] to hidden channels [W, (rows + 2) * (columns + 2)], with zeros around the grid."""
    _, rows, columns = x.shape
    hidden = np.zeros((len(network.head), rows + 2, columns + 2), np.float32)
    hidden[:, 1:-1, 1:-1] = (network.head @ x.reshape(len(x), -1) + network.head_bias[:, None]).reshape(-1, rows, columns)
    return hidden.reshape(len(hidden), -1)


def block(
    network: Synthesis, number: int, hidden: Float32, width: int, rows: Rows, watch: Callable[[Float32], None] | None = None
) -> Float32:
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


def mixed(hidden: Float32, taps: Float32, width: int, cells: slice) -> Float32:
    """A 3x3 convolution of every channel by itself, `taps` [W, 9], at some cells."""
    found = taps[:, 4, None] * hidden[:, cells]
    for tap in (0, 1, 2, 3, 5, 6, 7, 8):
        shift = (tap // 3 - 1) * width + tap % 3 - 1
        found += taps[:, tap, None] * hidden[:, cells.start + shift : cells.stop + shift]
    return found


def clear_sides(hidden: Float32, width: int) -> None:
    """Zeros again left and right of the grid."""
    hidden.reshape(len(hidden), -1, width)[:, :, :: width - 1] = 0


def tail(network: Synthesis, hidden: Float32, width: int, kept: Rows) -> Float32:
    """Hidden channels to outputs [192, n, columns], or others, of the rows that are kept."""
    middle = np.ascontiguousarray(hidden.reshape(len(hidden), -1, width)[:, 1 + kept[0] : 1 + kept[1], 1:-1])
    result: Float32 = network.tail @ middle.reshape(len(middle), -1) + network.tail_bias[:, None]
    return result.reshape(-1, *middle.shape[1:])


class Correct(Protocol):
    """What runs a network: inputs [C, rows, columns] to corrections [192, n, columns], as `correct` does."""

    def __call__(self, x: Float32, kept: Rows | None = None) -> Float32: ...


Restored = Callable[[Rows], Float32]
"""What decodes some rows of cells to coefficients float32 [C', n] in grey levels."""


def strips(halo: int, grid: tuple[int, int], cells: int | None = None) -> list[Rows]:
    """The strips, of about so many cells, in which a picture is synthesised; `halo` rows are done twice."""
    h, w = grid
    rows = max(2 * halo, 1, (cells or _STRIP_CELLS) // w)
    return [(top, min(h, top + rows)) for top in range(0, h, rows)]


def synthesise(
    run: Correct,
    halo: int,
    latents: Int16,
    step: float,
    grid: tuple[int, int],
    layout: Layout,
    rows: Rows,
) -> Float32:
    """Coefficients float32 [C', n] in grey levels of some rows of cells, with the `halo` rows around them taken into account.

    `latents` int16 [C, h * w] are of the whole picture. C' is that of COLOR_8X8, or of the layout for a grey one.
    """
    h, w = grid
    top, bottom = max(0, rows[0] - halo), min(h, rows[1] + halo)
    full = layout.whole
    inputs = features(latents[:, top * w : bottom * w], layout, step)
    correction = run(inputs.reshape(FEATURES, bottom - top, w), (rows[0] - top, rows[1] - top))
    kept = correction.reshape(OUTPUTS, -1)
    out = np.ascontiguousarray(kept[shared_channels(full, COLOR_8X8)[1]])
    out[: layout.channels] += latents[:, rows[0] * w : rows[1] * w] * np.float32(1 / UNIT)
    out *= np.float32(step)
    return out


def plain(latents: Int16, step: float, grid: tuple[int, int], layout: Layout, rows: Rows) -> Float32:
    """As `synthesise`, without a network: the latents themselves, and zeros for what was never coded."""
    given = latents[:, rows[0] * grid[1] : rows[1] * grid[1]]
    out = np.zeros((layout.whole.channels, given.shape[1]), np.float32)
    out[: len(given)] = given * np.float32(step / UNIT)
    return out


def sparing(run: Correct, here: Correct, halo: int, tell: Callable[[str], None]) -> Correct:
    """`run`, which raises MemoryError where there is too little; then halves, and at last `here`, and `tell` says so.

    `halo` is the network's: the rows around a half that it sees besides.
    """

    def correct(x: Float32, kept: Rows | None = None) -> Float32:
        first, last = kept or (0, x.shape[1])
        try:
            return run(x, (first, last))
        except MemoryError:
            if x.shape[1] < max(2, 4 * halo):
                tell("too little memory on the GPU: a network ran on the CPU")
                return here(x, (first, last))
        tell("too little memory on the GPU: a network ran in smaller strips")
        middle = (first + last) // 2
        below = max(0, middle - halo)
        halves = (x[:, : middle + halo], (first, middle)), (x[:, below:], (middle - below, last - below))
        return np.concatenate([correct(*half) for half in halves], axis=1)

    return correct
