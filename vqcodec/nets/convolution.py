"""Numpy inference of the residual convolutional networks: synthesis, refiner, denoiser, token encoder and token decoder.

Each block mixes cells, then channels (Chollet 2017; Liu et al. 2022), so nearly all time is spent in the 1x1 convolutions, which
BLAS multiplies:

    hidden = head @ input
    for each block:   hidden += project @ relu(expand @ (depthwise * hidden))
    output = tail @ hidden

`*` is a 3x3 convolution of each channel on its own, with zeros outside the grid. All layers have biases. The arithmetic is floating
point, unlike everything that parses a file: pixels agree within 1 of 255 between machines. Hidden channels are the columns of an
array, cells its rows: numpy multiplies by the taps of all channels at once twice as fast as by those of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32
from vqcodec.runtime import progress

RELU_BOUNDS: Final = np.float32(0), np.float32(np.inf)
"""Bounds of `clip` for a rectifier. With both bounds of the array's own type, clip takes a third of the time of np.maximum."""
_STRIP_CELLS: Final = 1 << 14
"""Cells of a strip. Strips keep memory independent of the picture's size."""
_CHUNK: Final = 512
"""Cells whose activations fit in the cache."""


@dataclass(frozen=True, eq=False)
class ConvNetwork:
    """Weights and biases of a network with W hidden channels and E channels inside a block.

    Shapes: head [W, inputs], depthwise [blocks, W, 9], expand [blocks, E, W], project [blocks, W, E], tail [outputs, W].
    """

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
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], name: str, *, inputs: int, outputs: int) -> ConvNetwork:
        """The network in the float16 tensors `name.*` of a model. Raises KeyError, ValueError."""
        found = cls(*(tensors[f"{name}.{layer}"].astype(np.float32) for layer in cls.__dataclass_fields__))
        width, blocks, wide = len(found.head), len(found.expand), found.expand_bias.shape[-1]
        shapes = {
            "head": (width, inputs),
            "depthwise": (blocks, width, 9),
            "expand": (blocks, wide, width),
            "project": (blocks, width, wide),
            "tail": (outputs, width),
        }
        for layer, shape in shapes.items():
            for key, wanted in ((layer, shape), (f"{layer}_bias", shape[:-1])):
                array = getattr(found, key)
                if array.shape != wanted or not np.isfinite(array).all():
                    raise ValueError(f"{name}.{key} is wrong")
        return found

    @property
    def halo(self) -> int:
        """Cells around a cell that its output depends on."""
        return len(self.depthwise)

    @property
    def macs_per_pixel(self) -> float:
        """Multiply-accumulate operations per pixel, without the inverse DCT."""
        layers = (self.head, self.depthwise, self.expand, self.project, self.tail)
        return sum(layer.size for layer in layers) / 64


Rows = tuple[int, int]
"""Rows of cells: the first, and the one behind the last."""


class RunNetwork(Protocol):
    """Runs a network on inputs [C, rows, columns]; the outputs [outputs, n, columns] of the n rows `kept`, or of all rows."""

    def __call__(self, x: Float32, kept: Rows | None = None) -> Float32: ...


def run_network(network: ConvNetwork, x: Float32, kept: Rows | None = None) -> Float32:
    """Outputs float32 [outputs, n, columns] of the n rows `kept`, or of all rows, for inputs float32 [C, rows, columns]."""
    rows, width = x.shape[1], x.shape[2] + 2
    first, last = kept or (0, rows)
    hidden = head(network, x)
    for number in progress.steps(range(len(network.expand))):
        reach = len(network.expand) - 1 - number  # rows around the kept ones that later blocks still need
        hidden = block(network, number, hidden, width, (max(0, first - reach), min(rows, last + reach)))
    return tail(network, hidden, width, (first, last))


def head(network: ConvNetwork, x: Float32) -> Float32:
    """Hidden channels [(rows + 2) * (columns + 2), W], with zeros around the grid, for inputs [C, rows, columns]."""
    _, rows, columns = x.shape
    hidden = np.zeros((rows + 2, columns + 2, len(network.head)), np.float32)
    inside = x.reshape(len(x), -1).T @ network.head.T  # float32 [rows * columns, W]
    inside += network.head_bias
    hidden[1:-1, 1:-1] = inside.reshape(rows, columns, -1)
    return hidden.reshape(-1, len(network.head))


def block(
    network: ConvNetwork, number: int, hidden: Float32, width: int, rows: Rows, watch: Callable[[Float32], None] | None = None
) -> Float32:
    """Hidden channels after block `number` in some rows, 0 elsewhere.

    `width` is the length of a row with its two zeros. `watch` is called with the rectified channels [n, E] of each chunk of cells.
    """
    after = np.zeros_like(hidden)
    taps, expand, project = network.depthwise[number], network.expand[number], network.project[number]
    biases = network.expand_bias[number] + expand @ network.depthwise_bias[number]
    for cells in chunks(rows, width):
        wide = depthwise(hidden, taps, width, cells) @ expand.T
        wide += biases
        wide.clip(*RELU_BOUNDS, out=wide)
        if watch:
            watch(wide)
        out = wide @ project.T
        out += network.project_bias[number]
        np.add(out, hidden[cells], out=after[cells])
    clear_sides(after, width)
    return after


def tail(network: ConvNetwork, hidden: Float32, width: int, kept: Rows) -> Float32:
    """Outputs [outputs, n, columns] of the rows `kept`, for hidden channels with zeros around the grid."""
    middle = np.ascontiguousarray(hidden.reshape(-1, width, hidden.shape[1])[1 + kept[0] : 1 + kept[1], 1:-1])
    result: Float32 = network.tail @ middle.reshape(-1, hidden.shape[1]).T
    result += network.tail_bias[:, None]
    return result.reshape(-1, *middle.shape[:2])


def chunks(rows: Rows, width: int) -> Iterator[slice]:
    """Slices of about a cache's worth of cells that cover some rows of the padded grid, the zeros at the sides included."""
    first, last = (1 + rows[0]) * width + 1, (1 + rows[1]) * width - 1
    for start in range(first, last, _CHUNK):
        yield slice(start, min(start + _CHUNK, last))


def depthwise(hidden: Float32, taps: Float32, width: int, cells: slice) -> Float32:
    """The 3x3 convolution of each channel on its own with `taps` [W, 9], at some cells: float32 [n, W]."""
    each = np.ascontiguousarray(taps.T)
    found = hidden[cells] * each[4]
    product = np.empty_like(found)
    for tap in (0, 1, 2, 3, 5, 6, 7, 8):
        shift = (tap // 3 - 1) * width + tap % 3 - 1
        found += np.multiply(hidden[cells.start + shift : cells.stop + shift], each[tap], out=product)
    return found


def clear_sides(hidden: Float32, width: int) -> None:
    """Set the padding left and right of the grid to zero again, in place."""
    hidden.reshape(-1, width, hidden.shape[1])[:, :: width - 1] = 0


def strips(halo: int, grid: tuple[int, int], cells: int | None = None) -> list[Rows]:
    """Strips of about `cells` cells that cover a grid (rows, columns). A strip has at least 2 `halo` rows, as `halo` rows on each
    side are computed twice."""
    h, w = grid
    rows = max(2 * halo, 1, (cells or _STRIP_CELLS) // w)
    return [(top, min(h, top + rows)) for top in range(0, h, rows)]


def with_memory_fallback(run: RunNetwork, on_cpu: RunNetwork, halo: int, tell: Callable[[str], None]) -> RunNetwork:
    """`run` that survives MemoryError: it halves its input and, when the parts get small, calls `on_cpu`. `tell` gets a message.

    `halo` is the network's: a half sees this many more rows.
    """

    def run_or_split(x: Float32, kept: Rows | None = None) -> Float32:
        first, last = kept or (0, x.shape[1])
        try:
            return run(x, (first, last))
        except MemoryError:
            if x.shape[1] < max(2, 4 * halo):
                tell("too little memory on the GPU: a network ran on the CPU")
                return on_cpu(x, (first, last))
        tell("too little memory on the GPU: a network ran in smaller strips")
        middle = (first + last) // 2
        below = max(0, middle - halo)
        halves = (x[:, : middle + halo], (first, middle)), (x[:, below:], (middle - below, last - below))
        return np.concatenate([run_or_split(*half) for half in halves], axis=1)

    return run_or_split
