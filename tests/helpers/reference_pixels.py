"""Pixel sections for the second reader: written from the specification alone, sample by sample.

The specification is in the docstrings of container.py (section 6.2), and of pixel_sections.py, index_planes.py,
context_planes.py, palettes.py, rare_colours.py, predicted.py and pixel_pyramid.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helpers.reference_basics import NEIGHBOURS, Bytes, clamp, lattices_of, log16, raw_bits_of, require, unpacked

Map = list[list[bool]]
"""Whether each cell of a tile group is graphic, [h][w]."""
Picture = NDArray[np.int64]
"""Samples [H, W, S] of a tile group."""
FIRST_LEVELS = (255, 3, 15)
CLASSES = 24
VECTORS = {2: (2, 15), 3: (3, 6), 4: (5, 3)}
"""Symbols in a vector, and the number that they are below, of each form of vectors."""
LETTERS = 239


@dataclass
class Palette:
    """Colours of each level, and whether there are others."""

    levels: list[list[list[int]]]
    rare: bool


@dataclass
class Kind:
    """The pixels of a file: `samples` of each, of `depth` bits."""

    samples: int
    depth: int

    @property
    def size(self) -> int:
        """Bytes of a sample."""
        return 1 if self.depth == 8 else 2

    def from_planes(self, data: bytes) -> list[list[int]]:
        """Pixels [n][samples] from planes."""
        count = len(data) // (self.samples * self.size)
        planes = [list(data[at : at + count]) for at in range(0, len(data), max(1, count))]
        if self.size == 2:
            planes = [
                [256 * high + low for high, low in zip(*pair, strict=True)] for pair in zip(planes[::2], planes[1::2], strict=True)
            ]
        return [list(pixel) for pixel in zip(*planes, strict=True)]

    def from_interleaved(self, data: bytes) -> list[list[int]]:
        """Pixels [n][samples], one after the other."""
        flat = [int.from_bytes(data[at : at + self.size], "little") for at in range(0, len(data), self.size)]
        return [flat[at : at + self.samples] for at in range(0, len(flat), self.samples)]

    def modulo(self, value: int) -> int:
        return value % 256**self.size


# palettes.py


def read_symbols(reader: Bytes, count: int, most_packed: int) -> list[int]:
    """`count` symbols of a part."""
    head = reader.integer(1)
    mode, packing = head & 3, head >> 2
    require(mode < 3 and packing <= most_packed, "an invalid part")
    each = 2**packing
    size = -(-count // each)
    data = unpacked(reader.take(reader.varint()), size, mode, whole=True) if mode else reader.take(size)
    bits = 8 // each
    symbols = [byte >> bits * place & 2**bits - 1 for byte in data for place in range(each)]
    require(not any(symbols[count:]), "unused bits are not 0")
    return symbols[:count]


def read_part(reader: Bytes, size: int) -> bytes:
    return bytes(read_symbols(reader, size, 0))


def read_palette(data: bytes, kind: Kind, pixels: int) -> Palette:
    reader = Bytes(data)
    count, rare = divmod(reader.varint(), 2)
    require(count <= 4080 and count <= pixels, "too many colours")
    levels: list[list[list[int]]] = []
    if count:
        choice = reader.integer(1)
        require(choice < 3, "an invalid first level")
        first = FIRST_LEVELS[choice]
        sizes = [size for size in (first, 255 - first, *[255] * 16) if size]
        while sum(sizes[:-1]) >= count:
            sizes.pop()
        sizes[-1] -= sum(sizes) - count
        own = read_part(reader, count) if len(sizes) > 1 else bytes(count)
        require([own.count(level) for level in range(len(sizes))] == sizes, "levels of other sizes")
        levels = [[] for _ in sizes]
        colour = [0] * kind.samples
        for level, change in zip(own, kind.from_planes(read_part(reader, count * kind.samples * kind.size)), strict=True):
            colour = [kind.modulo(value) for value in added(colour, with_second(change))]
            require(max(colour) < 2**kind.depth, "a colour of too many bits")
            levels[level].append(colour)
    require(reader.at == len(data), "bytes after a palette")
    return Palette(levels, bool(rare))


def added(first: list[int], second: list[int]) -> list[int]:
    return [a + b for a, b in zip(first, second, strict=True)]


def with_second(change: list[int]) -> list[int]:
    """The difference of the second component is added to those of the first and third."""
    return [change[0] + change[1], change[1], change[2] + change[1], *change[3:]] if len(change) >= 3 else change


# pixel_sections.py


class Copied(NamedTuple):
    """A sheet of the model, and the displacement of a cell there."""

    sheet: int
    rows: int
    columns: int


@dataclass
class Section:
    graphic: Map
    indices: bytes
    predicted: bytes
    copies: list[list[Copied | None]]

    def known(self, *, copied: bool) -> Map:
        """The graphic cells that are not copied, together with the copied cells if `copied`."""
        pairs = zip(self.graphic, self.copies, strict=True)
        return [[own if one is None else copied for own, one in zip(*rows, strict=True)] for rows in pairs]


def read_copies(reader: Bytes, h: int, w: int) -> list[list[Copied | None]]:
    """The copied cells (patterns.py)."""
    count = reader.varint()
    require(count <= 65535, "too many displacements")
    planes = read_part(reader, 6 * count) if count else b""
    values = [[planes[(2 * i) * count + n] + 256 * planes[(2 * i + 1) * count + n] for i in range(3)] for n in range(count)]
    numbers = list(read_part(reader, h * w)) if count else [0] * (h * w)
    if count > 255:
        numbers = [low + 256 * high for low, high in zip(numbers, read_part(reader, h * w), strict=True)]
    require(max(numbers) <= count, "no such displacement")
    cells = [Copied(*values[number - 1]) if number else None for number in numbers]
    return [cells[y * w : (y + 1) * w] for y in range(h)]


def paste(picture: Picture, copies: list[list[Copied | None]], sheets: list[Picture]) -> None:
    """Copy cells from the sheets [H, W, 4] of the model."""
    samples = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[picture.shape[2]]
    for y, x in np.ndindex(picture.shape[:2]):
        copied = copies[y // 8][x // 8]
        if copied is not None:
            require(copied.sheet < len(sheets), "no such sheet")
            sheet, row, column = sheets[copied.sheet], (y + copied.rows) % 65536, (x + copied.columns) % 65536
            require(row < sheet.shape[0] and column < sheet.shape[1], "outside of the sheet")
            picture[y, x] = sheet[row, column, samples]


def read_section(data: bytes, h: int, w: int, *, layers: bool, patterns: bool = False) -> Section:
    reader = Bytes(data)
    copies = read_copies(reader, h, w) if patterns else [[None] * w for _ in range(h)]
    kind = reader.integer(1)
    require(kind < 3, "a reserved kind")
    if kind < 2:
        rest = data[reader.at :]
        require(kind == 0 or not layers or not rest, "bytes after a pixel section")
        graphic = [[kind == 0] * w for _ in range(h)]
        return Section(graphic, b"" if kind else rest, rest if kind else b"", copies)
    bits = "".join(f"{byte:08b}" for byte in read_part(reader, -(-h * w // 8)))
    require("1" not in bits[h * w :], "unused bits are not 0")
    graphic = [[False] * w for _ in range(h)]
    for y in range(h):
        for x in range(w):
            left, above = x > 0 and graphic[y][x - 1], y > 0 and graphic[y - 1][x]
            corner = x > 0 and y > 0 and graphic[y - 1][x - 1]
            graphic[y][x] = (bits[y * w + x] == "1") ^ left ^ above ^ corner
    require({True, False} == {cell for row in graphic for cell in row}, "a map of one kind")
    indices = reader.take(len(data) - reader.at if layers else reader.varint())
    return Section(graphic, indices, data[reader.at :], copies)


# index_planes.py


def read_graphic(data: bytes, picture: Picture, graphic: Map, palette: Palette, kind: Kind, network: Network | None = None) -> None:
    """Write the pixels of graphic cells into a picture of zeros."""
    height, width, _ = picture.shape
    reader = Bytes(data)
    if not any(map(any, graphic)):
        require(not data, "bytes without graphic cells")
        return
    strips = strips_of(reader, height)
    in_contexts = not strips
    if in_contexts:
        strips = [(top, 1) for top in range(height)]
    places = [(y, x) for top, rows in strips for x in range(width) for y in range(top, top + rows) if graphic[y // 8][x // 8]]
    require(bool(palette.levels) or palette.rare, "a palette without colours")
    require(bool(palette.levels) or not in_contexts, "contexts without a level")
    for number, colours in enumerate(palette.levels):
        symbols = len(colours) + (number < len(palette.levels) - 1 or palette.rare)
        found = [0] * len(places)
        if in_contexts and number == 0:
            require(symbols > 1, "contexts of a single symbol")
            levels = [grey_level(colour) for colour in colours] + [WHITE] * (symbols - len(colours))
            found = read_in_contexts(reader, places, symbols, network, levels)
        elif symbols > 1 and places:
            found = read_symbols(reader, len(places), 3 if symbols <= 2 else 2 if symbols <= 4 else 1 if symbols <= 16 else 0)
        require(all(symbol < symbols for symbol in found), "a symbol too large")
        for place, symbol in zip(places, found, strict=True):
            if symbol < len(colours):
                picture[place] = colours[symbol]
        places = [place for place, symbol in zip(places, found, strict=True) if symbol == len(colours)]
    if places:
        head = reader.integer(1)
        predictor = head & 3 | (head & 8) >> 1
        require(head < 16 and predictor < 5, "reserved bits")
        stored = read_part(reader, len(places) * kind.samples * kind.size)
        changes = kind.from_planes(stored) if head & 4 else kind.from_interleaved(stored)
        for (y, x), change in sorted(zip(places, changes, strict=True)):
            values = added(change_of(change, predictor), predicted(picture, y, x, predictor))
            picture[y, x] = [kind.modulo(value) for value in values]
    require(reader.at == len(data), "bytes after the indices")


def strips_of(reader: Bytes, height: int) -> list[tuple[int, int]]:
    """First row and number of rows of each strip; none if there are contexts."""
    rows = reader.integer(1)
    if rows:
        return [(top, min(rows, height - top)) for top in range(0, height, rows)]
    count = reader.varint()
    require(count <= height, "an invalid number of strips")
    if not count:
        return []
    heights = read_part(reader, count)
    require(0 not in heights and sum(heights) == height, "heights of another sum")
    return [(sum(heights[:number]), rows) for number, rows in enumerate(heights)]


def change_of(change: list[int], predictor: int) -> list[int]:
    return with_second(change) if predictor in (1, 2, 3) else change


def predicted(picture: Picture, y: int, x: int, predictor: int) -> list[int]:
    """The prediction of a rare pixel (rare_colours.py)."""

    def at(row: int, column: int) -> Picture:
        return picture[row, column] if row >= 0 and column >= 0 else np.zeros_like(picture[0, 0])

    above, left, corner = at(y - 1, x), at(y, x - 1), at(y - 1, x - 1)
    if predictor == 4:
        known = zip(left.tolist(), above.tolist(), corner.tolist(), strict=True)
        return [min((a, b, c), key=lambda value: abs(a + b - c - value)) for a, b, c in known]
    values: list[int] = (above * 0, above, left, above + left - corner)[predictor].tolist()
    return values


# context_planes.py


Network = dict[str, NDArray[np.int64]]
"""The tensors `pixels.*` of a graphic model (pixel_contexts.py)."""
WHITE = 127
MOST_EXACT = 2**24


def grey_level(colour: list[int]) -> int:
    """The grey level that a network sees of a colour (palette.py)."""
    grey = colour[0] if len(colour) < 3 else (colour[0] + 2 * colour[1] + colour[2]) // 4
    alpha = colour[-1] if len(colour) % 2 == 0 else 255
    return (grey * alpha + 255 * (255 - alpha)) // 510


def seen_by_network() -> list[tuple[int, int]]:
    """Rows and columns, relative to a pixel, of those that a network sees."""
    above = [(y, x) for y in (-4, -3, -2, -1) for x in range(-4, 5) if x + 2 * y < 0]
    return [*above, *((0, x) for x in (-4, -3, -2, -1))]


def context_by_network(network: Network, levels: list[int]) -> int:
    """The context of a pixel with these grey levels around it."""
    values = np.array(levels)
    for name in ("first", "second"):
        sums = network[name] @ values + network[f"{name}_bias"]
        require(int(abs(sums).max()) < MOST_EXACT, "a sum too large")
        values = np.clip(sums // 1024, 0, 127)
    return int((network["out"] @ values + network["out_bias"]).argmax())


def read_in_contexts(
    reader: Bytes, places: list[tuple[int, int]], symbols: int, network: Network | None, levels: list[int]
) -> list[int]:
    """The symbols, of `symbols` different ones, of the pixels (y, x) at `places`, in the order of these.

    `levels`: what the network sees of each symbol.
    """
    bins = [reader.integer(1)]
    if bins[0]:
        bins += list(reader.take(3))
        network = None
    else:
        require(network is not None, "no network")
    count = len(network["out"]) if network else prod(bins)
    classes = reader.integer(1)
    require(0 < count <= 65536 and classes > 0, "an invalid number of contexts")
    class_of = read_part(reader, count) if classes > 1 else bytes(count)
    require(max(class_of) < classes, "no such class")
    streams: list[list[int]] = []  # the next symbol is the last of a list
    for _ in range(classes):
        streams.append(read_stream(reader, len(places) - sum(map(len, streams)), symbols)[::-1])
    known: dict[tuple[int, int], int] = {}
    for y, x in sorted(places, key=lambda place: (place[1] + 2 * place[0], place[0])):
        context = 0
        if network:
            around = [known.get((y + row, x + column)) for row, column in seen_by_network()]
            context = context_by_network(network, [WHITE if symbol is None else levels[symbol] for symbol in around])
        else:
            for place, number in zip(((y, x - 1), (y - 1, x), (y - 1, x + 1), (y - 1, x - 1)), bins, strict=True):
                context = context * number + known.get(place, 0) * number // symbols
        stream = streams[class_of[context]]
        require(bool(stream), "symbols are missing")
        known[y, x] = stream.pop()
    require(not any(streams), "symbols are left")
    return [known[place] for place in places]


def read_stream(reader: Bytes, most: int, symbols: int) -> list[int]:
    """A stream of at most `most` symbols, of `symbols` different ones."""
    count, split = divmod(reader.varint(), 2)
    require(count <= most, "a stream too long")
    if not split:
        found = list(read_part(reader, count)) if count else []
    else:
        common, size, tails = reader.integer(1), reader.varint(), reader.varint()
        require(1 <= size <= count and 1 <= tails <= count, "too many runs or symbols")
        require(common < symbols, "a common symbol too large")
        found = symbols_of(1, [read_part(reader, size), read_part(reader, tails)], common)
        require(len(found) <= count, "runs too long")
        found += [common] * (count - len(found))
    require(all(symbol < symbols for symbol in found), "a symbol too large")
    return found


# predicted.py and pixel_pyramid.py


@dataclass
class Weights:
    threshold: int
    means: list[list[int]]
    """Mean weights of each context."""
    scales: list[int]
    bias: int


class Predicted:
    """The predicted samples of a tile group."""

    def __init__(self, data: bytes, picture: Picture, graphic: Map, kind: Kind) -> None:
        """All graphic pixels of the picture are known."""
        self.picture, self.peak, self.kind = picture, 2**kind.depth - 1, kind
        self.height, self.width, channels = picture.shape
        self.order = [1, 0, 2, 3][:channels] if channels > 2 else [0, 1][:channels]
        self.coded = [[not graphic[y // 8][x // 8] for x in range(self.width)] for y in range(self.height)]
        self.sizes = np.zeros_like(picture)  # |residuals|
        reader = Bytes(data)
        head = reader.integer(1)
        self.levels, self.all_neighbours, self.contexts = (head & 3) + 1, bool(head & 4), 2 if head & 8 else 1
        require(head < 16 and self.levels <= 3, "reserved bits")
        starts = reader.integer(3)
        require(starts & 1 == 1, "no first stream")
        self.stream_of = [(starts & (2 << number) - 1).bit_count() - 1 for number in range(CLASSES)]
        forms = reader.take(starts.bit_count())
        require(max(forms) < 5, "a reserved form")
        letters = read_part(reader, size) if (size := reader.varint()) else b""
        self.read_streams(reader, forms)
        self.bits = [byte >> 7 - place & 1 for byte in data[reader.at :] for place in range(8)][::-1]
        self.set_numbers([self.number(letter) for letter in letters])
        for channel in range(channels):
            for level in range((max(self.height, self.width) - 1).bit_length() - 1, -1, -1):
                for number in range(3):
                    self.decode_pass(channel, level, number)
        require(not any(map(any, self.streams)), "symbols are left")
        require(len(self.bits) < 8 and not any(self.bits), "raw bits are left")

    def read_streams(self, reader: Bytes, forms: bytes) -> None:
        room = sum(map(sum, self.coded)) * len(self.order) + 4 * len(forms)
        bytes_left = 2 * room
        self.streams: list[list[int]] = []  # the next symbol is the last of a list
        for form in forms:
            parts = []
            for _ in range(1 if form == 0 else 2):
                size = reader.varint()
                bytes_left -= size
                require(bytes_left >= 0, "parts too large")
                parts.append(read_part(reader, size) if size else b"")
            symbols = symbols_of(form, parts)
            room -= len(symbols)
            require(room >= 0, "streams too long")
            self.streams.append(symbols[::-1])

    def number(self, letter: int) -> int:
        """The integer of a letter and its raw bits."""
        require(letter < LETTERS, "no letter")
        magnitude = (letter + 1) // 2
        if letter > 30:
            octave, eighth = divmod((letter - 31) // 2, 8)
            magnitude = 8 + eighth << octave + 1
            raw = 0
            for _ in range(raw_bits_of(letter)):
                require(bool(self.bits), "raw bits are missing")
                raw = 2 * raw + self.bits.pop()
            magnitude += raw
        return magnitude if letter % 2 else -magnitude

    def set_numbers(self, numbers: list[int]) -> None:
        """The samples (0, 0) and the weights."""
        self.weights: dict[tuple[int, int, int], Weights] = {}
        left = iter(numbers)

        def take(count: int) -> list[int]:
            found = list(islice(left, count))
            require(len(found) == count, "too few numbers")
            return found

        for channel, place in enumerate(self.order):
            (root,) = take(1)
            require(0 <= root <= self.peak, "a sample out of range")
            self.picture[0, 0, place] = root
            for level in range(self.levels):
                for number in range(3):
                    own, other = (len(NEIGHBOURS[number]), 12) if self.all_neighbours else (4, 4)
                    threshold = take(1)[0] if self.contexts == 2 else 0
                    means = [take(own + other * channel) for _ in range(self.contexts)]
                    scales, (bias,) = take(5 + 3 * channel), take(1)
                    most = max(sum(map(abs, some)) for some in means)
                    require(self.kind.depth > 8 or most * 255 + 1024 < 2**24, "weights of means too large")
                    require(sum(map(abs, scales)) * 256 + abs(bias) < 2**24, "weights of scales too large")
                    self.weights[channel, level, number] = Weights(threshold, means, scales, bias)
        require(next(left, None) is None, "too many numbers")

    def decode_pass(self, channel: int, level: int, number: int) -> None:
        lattices = lattices_of(self.height, self.width, 2**level)
        rows, columns = lattices["ABC"[number]]
        means: dict[tuple[int, int], int] = {}
        classes: dict[tuple[int, int], int] = {}
        for a, y in enumerate(rows):
            for b, x in enumerate(columns):
                if self.coded[y][x]:
                    around = []
                    for name, i, j in NEIGHBOURS[number]:
                        ys, xs = lattices[name]
                        there = bool(ys) and bool(xs)
                        around.append((ys[clamp(a + i, 0, len(ys) - 1)], xs[clamp(b + j, 0, len(xs) - 1)]) if there else None)
                    means[y, x], classes[y, x] = self.expect(channel, level, number, (y, x), around)
        for chosen in range(CLASSES):
            letters = {}
            stream = self.streams[self.stream_of[chosen]]
            for place, own in classes.items():
                if own == chosen:
                    letters[place] = stream.pop() if stream else 0
            for place, letter in letters.items():
                residual = self.number(letter)
                sample = means[place] + residual
                require(0 <= sample <= self.peak, "a sample out of range")
                self.picture[place][self.order[channel]] = sample
                self.sizes[place][self.order[channel]] = abs(residual)

    def expect(
        self, channel: int, level: int, number: int, target: tuple[int, int], around: list[tuple[int, int] | None]
    ) -> tuple[int, int]:
        """Mean and class of a sample."""
        weights = self.weights[channel, min(level, self.levels - 1), number]
        own_plane, own_sizes = (array[:, :, self.order[channel]] for array in (self.picture, self.sizes))
        n = 4 if number == 0 else 2
        base = (sum(int(own_plane[place]) for place in around[:n] if place) + n // 2) // n
        d = [int(own_plane[place]) - base if place else 0 for place in around[: None if self.all_neighbours else 4]]
        differences = list(d)
        activity = sum(map(abs, d[:4]))
        pairs = ((0, 3), (1, 2)) if number == 0 else ((0, 1), (2, 3))
        sums = [activity, sum(map(abs, d[4:])), *(abs(d[i] - d[j]) for i, j in pairs)]
        sums.append(sum(int(own_sizes[place]) for place in around[:4] if place))
        for earlier in self.order[:channel]:
            plane, sizes = (array[:, :, earlier] for array in (self.picture, self.sizes))
            some = around[: 12 if self.all_neighbours else 4]
            e = [int(plane[place]) - int(plane[target]) if place else 0 for place in some]
            differences += e
            sums += [sum(map(abs, e)), 4 * int(sizes[target]), sum(int(sizes[place]) for place in around[:4] if place)]
        means = weights.means[1 if self.contexts == 2 and activity > weights.threshold else 0]
        mean = base + (sum(w * m for w, m in zip(means, differences, strict=True)) + 512 >> 10)
        logs = [log16(min(x, 65535) + 1) for x in sums]
        score = sum(w * f for w, f in zip(weights.scales, logs, strict=True)) + weights.bias
        return clamp(mean, 0, self.peak), clamp(score >> 12, 0, CLASSES - 1)


def symbols_of(form: int, parts: list[bytes], common: int = 0) -> list[int]:
    """The symbols of a stream; runs are of the symbol `common`."""
    if form == 0:
        return list(parts[0])
    rest = iter(parts[1])
    symbols: list[int] = []
    if form == 1:
        run = 0
        require(parts[0][-1:] != b"\xff", "an unfinished run")
        for byte in parts[0]:
            run += byte
            if byte < 255:
                symbols += [common] * run + [next_of(rest)]
                run = 0
    else:
        d, k = VECTORS[form]
        for byte in parts[0]:
            require(byte == 255 or byte < k**d, "no vector")
            symbols += [next_of(rest) for _ in range(d)] if byte == 255 else [byte // k**place % k for place in range(d)]
    require(next(rest, None) is None, "symbols without a run or vector")
    return symbols


def next_of(rest: object) -> int:
    found = next(rest, None)  # type: ignore[call-overload]  # an iterator
    require(found is not None, "symbols are missing")
    return int(found)
