"""A second reader of .vqz files, written from the specification alone: the docstrings of container.py, exact.py and folder.py, and
of the modules that these name.

It shares no code with vqcodec and works cell by cell. Section numbers are those of the specification.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray
from safetensors.numpy import load_file

from helpers.reference_basics import NEIGHBOURS, Bytes, clamp, lattices_of, log16, raw_bits_of, require, unpacked
from helpers.reference_pixels import Kind, Map, Network, Palette, Predicted, paste, read_graphic, read_palette, read_section
from helpers.reference_pixels import Section as PixelSection

LISTS = {
    "H3": "03 12",
    "H4": "04 13",
    "H5": "05 14 23 24",
    "H6": "06 15 07 16",
    "H7": "25 35 26 45",
    "H8": "17 27 36 37 46 47 56 57",
    "C2": "01 10",
    "C4": "11 02 20 22",
    "C8": "03 12 13 23 30 21 31 32",
}
TILES = (
    *("0 01", "0 10", "1 C2", "2 C2", "0 11", "0 02", "0 20", "0 H3", "0 H3t", "1 C4", "2 C4", "0 H4", "0 H4t", "0 22 33"),
    *("0 H5", "0 H5t", "1 C8", "2 C8", "0 H6", "0 H6t", "0 44 34 43 55", "0 H7", "0 H7t", "0 H8", "0 H8t", "0 66 67 76 77"),
    *("1 33", "2 33", "1 04 05 14 15 24 25 34 35", "2 04 05 14 15 24 25 34 35"),
    *("1 40 50 41 51 42 52 43 53", "2 40 50 41 51 42 52 43 53"),
    *("1 06 07 16 17 26 27 36 37", "2 06 07 16 17 26 27 36 37", "1 60 70 61 71 62 72 63 73", "2 60 70 61 71 62 72 63 73"),
    *("1 44 45 54 55 46 64 56 65", "2 44 45 54 55 46 64 56 65", "1 47 74 57 75 66 67 76 77", "2 47 74 57 75 66 67 76 77"),
)
TILES_WITHOUT_8X8_CHROMA = 28
TILES_WITH_CONTEXT = 28
LOW_TILES = 11
MAGIC = bytes.fromhex("8956515A0D0A1A0A")
GREY, COLOUR_8X8, TOKENS = 0, 2, 3
PIXELS, INDICES, PALETTE = 256, 257, 3
"""Sections of tile groups, which have no type in a file; and the type of the palette."""

Cell = tuple[int, int]
Plane = list[list[int]]
Vectors = list[list[NDArray[np.int64]]]  # one vector per cell


def tile_coefficients(number: int) -> tuple[int, list[str]]:
    """Component and coefficients of a tile."""
    component, *names = TILES[number].split()
    found: list[str] = []
    for name in names:
        if name.endswith("t"):
            found += [pair[::-1] for pair in LISTS[name[:-1]].split()]
        else:
            found += LISTS.get(name, name).split()
    return int(component), found


class Model:
    """The tensors of a model, and its codebooks."""

    def __init__(self, folder: Path) -> None:
        self.tensors = load_file(folder / "model.safetensors")
        self.weights = {name: array.tolist() for name, array in self.tensors.items() if name.startswith(("tile.", "dc."))}
        self.context = {
            name.removeprefix("context."): array.astype(np.int64)
            for name, array in self.tensors.items()
            if name.startswith("context.")
        }
        self.table = self.tensors["book.table"].tolist()
        self.dims, self.sizes, self.escapes = (self.tensors[f"book.{kind}"].tolist() for kind in ("dim", "size", "escape"))
        self.codewords: list[list[list[int]]] = []  # [codebook][symbol][coefficient]
        self.alphabets: list[list[int]] = []
        word = letter = 0
        for dim, size in zip(self.dims, self.sizes, strict=True):
            self.codewords.append(self.tensors["book.words"][word : word + dim * size].reshape(dim, size).T.tolist())
            word += dim * size
            self.alphabets.append(self.tensors["book.alphabet"][letter : letter + size].tolist() if dim == 1 else [])
            letter += size if dim == 1 else 0


# 3. INDEX SECTION


class Layer:
    """The symbols and raw bits of one index section."""

    def __init__(self, section: bytes, model: Model, merge_map: int, values: int) -> None:
        """`values` is channels * cells."""
        self.model = model
        self.stream_of_codebook = model.tensors["merge.maps"][merge_map].tolist()
        reader = Bytes(section)
        bits = "".join(f"{byte:08b}" for byte in section)
        self.records = iter(bits)
        self.room = 4 * values + 16
        forms = [int(form) for form in model.tensors["merge.form"][merge_map, : max(self.stream_of_codebook) + 1]]
        dictionaries = [given.tolist() for given in model.tensors["merge.dictionary"][merge_map]]
        stored = [self._records(2 if form == 1 else 1, given) for form, given in zip(forms, dictionaries, strict=False)]
        used = len(bits) - sum(1 for _ in self.records)
        require("1" not in bits[used : used + -used % 8], "records do not end with zeros")
        reader.take((used + 7) // 8)
        self.symbols: list[list[int]] = []
        for form, parts, given in zip(forms, stored, dictionaries, strict=False):
            whole = [self._part(reader, *record, dictionary) for record, dictionary in zip(parts, given, strict=False)]
            self.symbols.append(self._symbols(form, whole)[::-1])  # the next one is the last of the list
        require(sum(map(len, self.symbols)) <= 2 * values, "too many symbols")
        raw = section[reader.at :]
        require(len(raw) <= 4 * values + 16, "too many raw bits")
        self.bits = [byte >> 7 - place & 1 for byte in raw for place in range(8)][::-1]

    def _take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + int(next(self.records))
        return value

    def _number(self) -> int:
        n = self._take(4)
        n += self._take(5) if n == 15 else 0
        return 2 ** (n - 1) + self._take(n - 1) if n else 0

    def _golomb(self, k: int) -> int:
        z = 0
        while next(self.records) == "0":
            z += 1
        require(z <= 32, "a Golomb code is too long")
        u = 2**z + self._take(z)
        return (u - 1) * 2**k + self._take(k)

    def _records(self, parts: int, dictionaries: list[int]) -> list[tuple[int, int, list[int]]]:
        """Size, mode (0 verbatim, 1 frame, 2 block, 3 block with dictionary) and stored lengths of a stream's parts."""
        found: list[tuple[int, int, list[int]]] = []
        for part, dictionary in zip(range(parts), dictionaries, strict=False):
            size = self._number() if part == 0 else found[0][0] and found[0][0] - self._golomb(0)
            require(size >= 0, "a part is larger than the one before")
            self.room -= size
            require(self.room >= 0, "the parts are too large")
            mode, lengths = 0, [size]
            if size and next(self.records) == "1":
                require(bool(dictionary), "no dictionary")
                code = self.model.tensors["dictionary.lengths"][dictionary - 1].tolist()
                q = (size + 3) // 4
                mode, lengths = 3, [self._expected(n, code) for n in ([size] if size < 1024 else [q, q, q, size - 3 * q])]
            elif size and next(self.records) == "0":
                mode = 1 + self._take(1)
                lengths = [self._number()]
            found.append((size, mode, lengths))
        return found

    def _expected(self, n: int, code: list[int]) -> int:
        """expected(n), with the code lengths of the dictionary."""
        x = self._golomb(max(0, len(f"{n:b}") // 2 - 1))
        length = (n * sum(bits << 11 - bits for bits in code if bits) >> 14) + (-(x + 1) // 2 if x % 2 else x // 2)
        require(length >= 0, "a negative length")
        return length

    def _part(self, reader: Bytes, size: int, mode: int, lengths: list[int], dictionary: int) -> bytes:
        """The bytes of a part before compression; `dictionary` 0 is none."""
        if size == 0:
            return b""
        if mode == 0:
            return reader.take(size)
        given = None
        if mode == 3:
            tensor = self.model.tensors[f"dictionary.{dictionary - 1:03}"]
            given = zstandard.ZstdCompressionDict(tensor.tobytes(), dict_type=zstandard.DICT_TYPE_FULLDICT)
        data = b"".join(length.to_bytes(2, "little") for length in lengths[:-1]) + reader.take(sum(lengths))
        return unpacked(data, size, mode, given)

    def _symbols(self, form: int, parts: list[bytes]) -> list[int]:
        if form == 0:
            return list(parts[0])
        symbols: list[int] = []
        if form == 1:
            rest = iter(parts[1])
            run = 0
            require(parts[0][-1:] != b"\xff", "an unfinished run")
            for byte in parts[0]:
                run += byte
                if byte < 255:
                    symbols += [0] * run + [next(rest)]
                    run = 0
            require(next(rest, None) is None, "symbols without a run")
            return symbols
        zeros = self.model.tensors["pairs.zeros"][form - 2].tolist()
        tails = self.model.tensors["pairs.tails"][form - 2].tolist()
        data = parts[0]
        pairs = literals = 0
        while pairs + literals < len(data):
            literals += tails[data[pairs]] == 256
            pairs += 1
        require(pairs + literals == len(data), "literals are missing")
        rest = iter(data[pairs:])
        for pair in data[:pairs]:
            symbols += [0] * zeros[pair]
            if tails[pair] == 256:
                symbols.append(next(rest))
            elif tails[pair] >= 0:
                symbols.append(tails[pair])
        return symbols

    def take_symbols(self, codebook: int, count: int) -> list[int]:
        stream = self.symbols[self.stream_of_codebook[codebook]]
        taken = [stream.pop() if stream else 0 for _ in range(count)]
        require(all(symbol < self.model.sizes[codebook] for symbol in taken), "a symbol is not in its codebook")
        return taken

    def take_scalars(self, codebook: int, count: int) -> list[int]:
        """The residuals of `count` symbols of a scalar codebook: first all symbols are read, then all raw bits."""
        residuals = []
        for symbol in self.take_symbols(codebook, count):
            residual = self.model.codewords[codebook][symbol][0]
            raw = 0
            for _ in range(raw_bits_of(self.model.alphabets[codebook][symbol])):
                raw = 2 * raw + self.bits.pop()
            sign = (residual > 0) - (residual < 0)
            residuals.append(residual + sign * 16 * raw)
        return residuals

    def finish(self) -> None:
        require(not any(self.symbols), "symbols are left")
        require(len(self.bits) < 8 and not any(self.bits), "raw bits are left")


# 5. DECODING A GROUP


def f1(m: int) -> int:
    return log16(m + 8) - log16(8)


def f2(m: int) -> int:
    return log16(m + 64) - log16(64)


def g1(s: int) -> int:
    return log16(s + 32) - log16(32)


def g2(s: int) -> int:
    return log16(s + 256) - log16(256)


def dot(weights: list[int], values: list[int]) -> int:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def class_of(score: int, gain: int = 0, level: int = 0) -> int:
    """The class of a linear score, with the context network's `gain` and masking's `level`."""
    score = clamp(clamp(score, 0, 2**19 - 1) + gain, 0, 2**19 - 1)
    return clamp(score - 2560 * level >> 14, 0, 31)


def feature_of(value: int) -> int:
    return clamp(value, -4095, 4095)


def mean_of(weights: list[int], features: list[int]) -> int:
    return dot(weights, list(map(feature_of, features))) + 512 >> 10


# 5.4: F and U


def short(x: int) -> int:
    """F(x)."""
    value = log16(min(abs(x), 65536) + 4) - 32 >> 1
    return value if x >= 0 else -value


def unit(sums: NDArray[np.int64], shift: int = 10) -> list[int]:
    """U of sums; with a model's shift V."""
    return [clamp(int(s) >> shift, 0, 127) for s in sums]


class Group:
    """One tile group and the state of its decoding."""

    def __init__(self, model: Model, layers: list[Layer], file: File, h: int, w: int, graphic: Map) -> None:
        self.model, self.layers, self.layout, self.h, self.w, self.graphic = model, layers, file.layout, h, w, graphic
        self.step, self.fine_dcs, self.masking = file.step, file.fine_dcs, file.masking
        log_step = log16(file.step) - 176
        self.step_inputs = [1, log_step, log_step * log_step >> 4]
        self.context_step = [32, log_step >> 1, log_step * log_step >> 8]
        self.components = 1 if file.layout == GREY else 3
        self.layer = layers[0]
        self.planes: list[Plane] = []  # latents of each channel

    def empty(self) -> Plane:
        return [[0] * self.w for _ in range(self.h)]

    def at(self, plane: Plane, row: int, column: int) -> int:
        """The value of a cell, edge cells repeated outside."""
        return plane[clamp(row, 0, self.h - 1)][clamp(column, 0, self.w - 1)]

    def beside(self, plane: Plane, row: int, column: int) -> list[int]:
        """The values of the cells to the left, to the right, above and below."""
        return [self.at(plane, row + i, column + j) for i, j in ((0, -1), (0, 1), (-1, 0), (1, 0))]

    def code(self, table_set: int, size: int, places: list[Cell], classes: list[int]) -> list[list[int]]:
        """The residuals [n][T] of n cells at `places`."""
        residuals = [[0] * size for _ in classes]
        for number in range(32):
            codebook = self.model.table[table_set][size.bit_length() - 1][number]
            cells = [
                cell
                for cell, ((row, column), chosen) in enumerate(zip(places, classes, strict=True))
                if chosen == number and not self.graphic[row][column]
            ]
            if codebook < 0 or not cells:
                continue
            dim = self.model.dims[codebook]
            count = len(cells) * size // dim
            if dim == 1:
                pieces = [[residual] for residual in self.layer.take_scalars(codebook, count)]
            else:
                symbols = self.layer.take_symbols(codebook, count)
                pieces = [self.model.codewords[codebook][symbol] for symbol in symbols]
                escapes = [place for place, symbol in enumerate(symbols) if symbol == self.model.escapes[codebook]]
                values = self.layer.take_scalars(len(self.model.dims) - 1, len(escapes) * dim)
                for i, place in enumerate(escapes):
                    pieces[place] = values[i * dim : (i + 1) * dim]
            flat = [residual for piece in pieces for residual in piece]
            for i, cell in enumerate(cells):
                residuals[cell] = flat[i * size : (i + 1) * size]
        return residuals

    def decode(self) -> list[Plane]:
        self.decode_dc()
        self.prepare_rows()
        self.levels = self.mask()
        if self.model.context:
            self.prepare_states()
        for number in range(len(TILES) if self.layout == COLOUR_8X8 else TILES_WITHOUT_8X8_CHROMA):
            component, coefficients = tile_coefficients(number)
            if component >= self.components:
                continue
            if len(self.layers) == 3:
                self.layer = self.layers[1 if number < LOW_TILES else 2]
            else:
                self.layer = self.layers[-1]
            self.decode_tile(number, component, len(coefficients))
        for layer in self.layers:
            layer.finish()
        return self.planes

    # 5.1

    def decode_dc(self) -> None:
        sizes: list[Plane] = []  # |residual| of each component, to the linear mean
        for component in range(self.components):
            self.planes.append(self.empty())
            sizes.append(self.empty())
            bias = self.model.weights[f"dc.root.{component}.bias"][0]
            residual = self.code_dcs(self.fine_dcs, [(0, 0)], [class_of(dot(bias, self.step_inputs))])[0]
            self.planes[component][0][0] = clamp(residual, -32767, 32767)
            sizes[component][0][0] = abs(residual)
            for k in range((max(self.h, self.w) - 1).bit_length() - 1, -1, -1):
                for number in range(3):
                    self.decode_dc_pass(component, k, number, sizes)

    def code_dcs(self, fine: bool, places: list[Cell], classes: list[int]) -> list[int]:
        """The residuals [n] of n DCs."""
        found = self.code(0, 1, places, [min(number + 2, 31) for number in classes] if fine else classes)
        return [(residual + 1) // 2 if fine else residual for (residual,) in found]

    def decode_dc_pass(self, component: int, k: int, number: int, sizes: list[Plane]) -> None:
        stride = 2**k
        weights = {kind: self.model.weights[f"dc.{component}.{min(k, 4)}.{number}.{kind}"][0] for kind in ("mean", "scale", "bias")}
        lattices = lattices_of(self.h, self.w, stride)

        def neighbour(name: str, a: int, b: int) -> Cell | None:
            rows, columns = lattices[name]
            if not rows or not columns:
                return None
            return rows[clamp(a, 0, len(rows) - 1)], columns[clamp(b, 0, len(columns) - 1)]

        rows, columns = lattices["ABC"[number]]
        cells, means, shifts, classes = [], [], [], []
        for a, row in enumerate(rows):
            for b, column in enumerate(columns):
                around = [neighbour(name, a + i, b + j) for name, i, j in NEIGHBOURS[number]]
                base, features, magnitudes = self.dc_features(component, number, (row, column), around, sizes)
                magnitudes = [min(m, 8191) for m in magnitudes]
                scales = [f1(m) for m in magnitudes] + [f2(m) for m in magnitudes]
                mean = mean_of(weights["mean"], features)
                score = dot(weights["scale"], scales) + dot(weights["bias"], self.step_inputs)
                gain, shift = self.dc_context(f"dc.{component}.{k}.{number}", features, scales, score, mean)
                cells.append((row, column))
                means.append(base + mean)
                shifts.append(shift)
                classes.append(class_of(score, gain))
        residuals = self.code_dcs(self.fine_dcs and stride >= (4, 2, 2)[component], cells, classes)
        for (row, column), mean, shift, residual in zip(cells, means, shifts, residuals, strict=True):
            self.planes[component][row][column] = clamp(mean + shift + residual, -32767, 32767)
            sizes[component][row][column] = abs(shift + residual)

    def dc_features(
        self, component: int, number: int, target: Cell, around: list[Cell | None], sizes: list[Plane]
    ) -> tuple[int, list[int], list[int]]:
        """Base, mean features and scale magnitudes of a cell."""
        row, column = target
        plane = self.planes[component]
        n = 4 if number == 0 else 2
        base = (sum(plane[cell[0]][cell[1]] for cell in around[:n] if cell) + n // 2) // n
        d = [plane[cell[0]][cell[1]] - base if cell else 0 for cell in around]
        features = list(d)
        pairs = ((0, 3), (1, 2)) if number == 0 else ((0, 1), (2, 3))
        magnitudes = [2 * sum(map(abs, d[:4])), sum(map(abs, d[4:12]))]
        magnitudes += [4 * abs(d[i] - d[j]) for i, j in pairs]
        magnitudes.append(2 * sum(sizes[component][cell[0]][cell[1]] for cell in around[:4] if cell))
        for earlier in range(component):
            other = self.planes[earlier]
            e = [other[cell[0]][cell[1]] - other[row][column] if cell else 0 for cell in around[:4]]
            features += e
            magnitudes += [8 * sizes[earlier][row][column], 2 * sum(map(abs, e))]
        return base, features, magnitudes

    # 5.2; feature rows are stored per cell, [row][column][feature]

    def prepare_rows(self) -> None:
        def empty() -> list[list[list[int]]]:
            return [[[] for _ in range(self.w)] for _ in range(self.h)]

        self.mean_rows = [empty() for _ in range(self.components)]
        self.banks = [empty(), empty()]  # component 0; components 1 and 2
        for component in range(self.components):
            plane = self.planes[component]
            for row in range(self.h):
                for column in range(self.w):
                    own = plane[row][column]
                    around = [self.at(plane, row + i, column + j) - own for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
                    self.mean_rows[component][row][column] += around
                    left, right, up, down = (abs(v - own) for v in self.beside(plane, row, column))
                    for m in (sum(map(abs, around)), 4 * (left + right), 4 * (up + down)):
                        m = min(m, 8191)
                        self.banks[min(component, 1)][row][column] += [f1(m), f2(m)]

    # 5.5

    def mask(self) -> Plane:
        """The level of every cell, without the parts for component and tile."""
        if not self.masking:
            return self.empty()
        plane = self.planes[0]

        def squares(row: int, column: int) -> int:
            own = self.at(plane, row, column)
            around = ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column))
            return sum(feature_of(self.at(plane, *place) - own) ** 2 for place in around)

        levels = self.empty()
        for row in range(self.h):
            for column in range(self.w):
                total = sum(squares(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1))
                octaves = log16((total * self.step**2 >> 20) + 34560) - log16(530000)
                levels[row][column] = clamp(self.masking * octaves + 16 >> 5, -16, 16)
        return levels

    # 5.3

    def decode_tile(self, number: int, component: int, size: int) -> None:
        weights = {
            kind: self.model.weights.get(f"tile.{number:02}.{kind}") for kind in ("scale", "scale_own", "bias", "mean", "mean_own")
        }
        by_tile = 0
        if self.masking:
            largest = max(int(digit) for pair in tile_coefficients(number)[1] for digit in pair)
            by_tile = (0, -3, 0, 2, 4, 6, 7, 8)[largest] + (4 if component else 0)
        planes = [self.empty() for _ in range(size)]
        magnitude = self.empty()
        values = [[[0] * (2 * size) for _ in range(self.w)] for _ in range(self.h)]
        for odd in (0, 1):
            cells = [(row, column) for row in range(self.h) for column in range(self.w) if (row + column) % 2 == odd]
            means, shifts, classes = [], [], []
            for row, column in cells:
                features = self.banks[0][row][column] + (self.banks[1][row][column] if component else [])
                score = dot(weights["scale"][odd], features) + dot(weights["bias"][odd], self.step_inputs)
                if odd:
                    beside = sum(self.beside(magnitude, row, column))
                    score += dot(weights["scale_own"], [g1(beside), g2(beside)])
                mean = [self.tile_mean(weights, planes, j, component, row, column, odd) for j in range(size)]
                gain, shift = self.tile_context(number, component, (row, column), odd, values, score, mean)
                means.append(mean)
                shifts.append(shift)
                classes.append(class_of(score, gain, self.levels[row][column] + by_tile))
            for (row, column), mean, shift, residuals in zip(cells, means, shifts, self.code(1, size, cells, classes), strict=True):
                codeword_size = math.floor(256 * 2 ** ((self.levels[row][column] + by_tile) / 16) + 0.5)
                differences = [s + (r * codeword_size + 128 >> 8) for s, r in zip(shift, residuals, strict=True)]
                for j in range(size):
                    planes[j][row][column] = clamp(mean[j] + differences[j], -32767, 32767)
                magnitude[row][column] = min(8191, 8 // size * sum(map(abs, differences)))
                values[row][column] = [short(plane[row][column]) for plane in planes]
                values[row][column] += [abs(short(difference)) for difference in differences]
        self.planes += planes
        self.add_rows(component, planes, magnitude)
        self.add_states(number, component, values)

    def tile_mean(self, weights: dict, planes: list[Plane], j: int, component: int, row: int, column: int, odd: int) -> int:
        if weights["mean"] is None:
            return 0
        features, factors = self.mean_rows[component][row][column], weights["mean"][len(planes) * odd + j]
        if odd:
            features, factors = features + self.beside(planes[j], row, column), factors + weights["mean_own"][j]
        return mean_of(factors, features)

    def add_rows(self, component: int, planes: list[Plane], magnitude: Plane) -> None:
        for row in range(self.h):
            for column in range(self.w):
                m = magnitude[row][column]
                cross = sum(self.beside(magnitude, row, column))
                diagonal = sum(self.at(magnitude, row + i, column + j) for i in (-1, 1) for j in (-1, 1))
                self.banks[min(component, 1)][row][column] += [f1(m), f2(m), g1(cross), g2(cross), g1(diagonal), g2(diagonal)]
                rows = self.mean_rows[component][row][column]
                for plane in planes:
                    if component == 0 and len(rows) < 83:
                        rows += [plane[row][column], *self.beside(plane, row, column)]

    # 5.4; a state is one vector per cell; `shift` is the gain of a mean

    def dc_context(self, name: str, features: list[int], scales: list[int], score: int, mean: int) -> tuple[int, int]:
        """ds and the gain of the mean of a cell in the DC pass with tensors `name`.*; `mean` is without the base."""
        net = self.model.context
        if f"{name}.first" not in net:
            return 0, 0
        logs = [short(feature_of(feature)) for feature in features]
        inputs = logs + list(map(abs, logs)) + [scale >> 1 for scale in scales]
        inputs += [clamp(score, 0, 2**19 - 1) >> 12, short(mean), *self.context_step]
        h = unit(net[f"{name}.first"] @ inputs + net[f"{name}.first_bias"])
        g = unit(net[f"{name}.second"] @ h + net[f"{name}.second_bias"])
        gain, fine_shift = (net[f"{name}.out"] @ g + net[f"{name}.out_bias"]).tolist()
        return gain, fine_shift + 512 >> 10

    def prepare_states(self) -> None:
        net = self.model.context
        around = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if i or j]
        self.states: list[Vectors] = []  # luma; chroma
        for name, components in (("luma", (0,)), ("chroma", (1, 2)))[: 1 if self.components == 1 else 2]:
            step = net[f"{name}.step"] @ self.context_step
            state: Vectors = []
            for row in range(self.h):
                state.append([])
                for column in range(self.w):
                    logs = []
                    for plane in (self.planes[component] for component in components):
                        logs += [short(self.at(plane, row + i, column + j) - plane[row][column]) for i, j in around]
                    state[row].append(net[f"{name}.dc"] @ (logs + list(map(abs, logs))) + step)
            self.states.append(state)

    def values_at(self, values: list[list[list[int]]], cells: list[Cell]) -> list[int]:
        """A tile's values at some cells, 0 outside the grid."""
        found: list[int] = []
        for row, column in cells:
            inside = 0 <= row < self.h and 0 <= column < self.w
            found += values[row][column] if inside else [0] * len(values[0][0])
        return found

    def tile_context(
        self, number: int, component: int, cell: Cell, odd: int, values: list[list[list[int]]], score: int, mean: list[int]
    ) -> tuple[int, list[int]]:
        """ds and the gains of the means of a cell."""
        net, (row, column) = self.model.context, cell
        if not net or number >= TILES_WITH_CONTEXT:
            return 0, [0] * len(mean)
        states = [state[row][column] for state in self.states[: 1 if component == 0 else 2]]
        if odd:
            beside = [(row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)]
            states[-1] = states[-1] + net[f"tile.{number:02}.own"] @ self.values_at(values, beside)
        shift = int(net["shift"][0])
        inputs = [u for state in states for u in unit(state, shift)] + [clamp(score, 0, 2**19 - 1) >> 12, *map(short, mean)]
        h = unit(net[f"tile.{number:02}.hidden"][odd] @ inputs + net[f"tile.{number:02}.hidden_bias"][odd])
        gain, *shifts = (net[f"tile.{number:02}.out"][odd] @ h + net[f"tile.{number:02}.out_bias"][odd]).tolist()
        with_means = f"tile.{number:02}.mean" in self.model.weights
        require(len(shifts) == (len(mean) if with_means else 0), "a context network of another shape")
        return gain, [shift + 512 >> 10 for shift in shifts] if with_means else [0] * len(mean)

    def add_states(self, number: int, component: int, values: list[list[list[int]]]) -> None:
        net, reach = self.model.context, 2 if number <= 6 else 1
        if f"tile.{number:02}.state" not in net:
            return
        state = self.states[min(component, 1)]
        for row in range(self.h):
            for column in range(self.w):
                around = [(row + i, column + j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]
                state[row][column] = state[row][column] + net[f"tile.{number:02}.state"] @ self.values_at(values, around)


# 1. FILE


@dataclass(frozen=True)
class File:
    """The header of a file, its pixel and index sections, and its other sections by type. `grid` is -1 except in token files."""

    width: int
    height: int
    layout: int
    layers: int
    group_log2: int
    step: int
    fine_dcs: bool
    masking: int
    merge_map: int
    grid: int
    depth: int
    alpha: bool
    patterns: bool
    pixels: list[bytes]
    sections: list[bytes]
    others: dict[int, bytes]

    @property
    def alpha_type(self) -> int:
        """The type of the section with the alpha plane."""
        return 1 if self.depth == 8 else 2

    @property
    def corners(self) -> list[Cell]:
        """The first row and column of each tile group."""
        h, w = -(-self.height // 8), -(-self.width // 8)
        side = 2**self.group_log2 if self.group_log2 else max(h, w)
        return [(top, left) for top in range(0, h, side) for left in range(0, w, side)]

    @property
    def groups(self) -> list[tuple[int, int]]:
        """The rows and columns of each tile group."""
        h, w = -(-self.height // 8), -(-self.width // 8)
        side = 2**self.group_log2 if self.group_log2 else max(h, w)
        return [(min(side, h - top), min(side, w - left)) for top, left in self.corners]

    @property
    def kind(self) -> Kind:
        """The pixels of pixel sections."""
        return Kind((1 if self.layout == GREY else 3) + (self.alpha and not self.layers), self.depth)

    @property
    def palette(self) -> Palette:
        return read_palette(self.others.get(3, b"\x01"), self.kind, self.height * self.width)

    def pixel_section(self, number: int) -> PixelSection:
        """The pixel section of a tile group; without graphic cells if the file has none."""
        h, w = self.groups[number]
        return read_section(self.pixels[number] if self.pixels else b"\x01", h, w, layers=self.layers > 0, patterns=self.patterns)


def read_file(data: bytes) -> File:
    reader = Bytes(data)
    require(reader.take(8) == MAGIC, "not a .vqz file")
    version = reader.integer(1)
    require(version in (3, 4), "unknown version")
    width, height = reader.varint(), reader.varint()
    require(1 <= width <= 65535 and 1 <= height <= 65535, "bad size")
    bits = reader.integer(1)
    flags = reader.integer(1) if bits & 64 else 0
    pixels, patterns = bool(flags & 8), bool(flags & 2)
    require(flags & 1 == 0, "unknown flags")
    require(not patterns or (pixels and bits & 3 != TOKENS and bits >> 4 & 3 == 3), "patterns beside layers")
    require(pixels == (version == 4), "another version")
    group_log2 = reader.integer(1) if bits & 64 else 0
    layout, layers = bits & 3, ((bits >> 4 & 3) + 1) % 4
    require(layers > 0 or pixels, "reserved layout")
    require(group_log2 == 0 or 3 <= group_log2 <= 13, "reserved group")
    step, coding, grid, depth = 0, 0, -1, (8, 10, 12, 16)[bits >> 2 & 3]
    if layers or patterns:
        reader.take(6)  # model id
    if layout == TOKENS:
        require(bits & 0xB8 == 0 and group_log2 == 0 and not pixels, "reserved layout")
        depth = 8
        grid = reader.integer(1)
        require(grid & 0xE0 == 0, "reserved grid")
    elif layers:
        step, coding = reader.integer(2), reader.integer(1)
        require(step > 0, "bad step")
    else:
        require(layout in (GREY, COLOUR_8X8) and bits < 128, "reserved layout")
    found = File(
        width=width,
        height=height,
        layout=layout,
        layers=layers,
        group_log2=group_log2,
        step=step,
        fine_dcs=bits & 0x80 != 0,
        masking=coding >> 5,
        merge_map=coding & 31,
        grid=grid,
        depth=depth,
        alpha=bool(flags & 4),
        patterns=patterns,
        pixels=[],
        sections=[],
        others={},
    )
    if bits & 64:
        others = reader.varint()
        groups = len(found.groups)
        table = [(PIXELS, reader.varint(), reader.integer(4)) for _ in range(pixels * groups)]
        table += [(INDICES, reader.varint(), reader.integer(4)) for _ in range(layers * groups)]
        table += [(reader.integer(1), reader.varint(), reader.integer(4)) for _ in range(others)]
        require(zlib.crc32(data[: reader.at]) == reader.integer(4), "bad header checksum")
    else:
        require(layers == 1, "layers without a table")
        rest = data[reader.at + 4 :]
        table = [(INDICES, len(rest), zlib.crc32(rest))]
        require(zlib.crc32(data[: reader.at] + rest) == reader.integer(4), "bad checksum")
    with_alpha = found.alpha and layers > 0
    known = [found.alpha_type] * with_alpha + [PALETTE] * pixels
    for kind, length, checksum in table:
        stored = reader.take(length)
        require(zlib.crc32(stored) == checksum, "bad checksum")
        if kind == PIXELS:
            found.pixels.append(stored)
        elif kind == INDICES:
            found.sections.append(stored)
        else:
            require(kind >= 0x80 or kind in known, "unknown section")
            require(kind not in found.others or kind > 0x83, "two sections of a type")
            found.others[kind] = stored
    require(reader.at == len(data), "bytes after the sections")
    require((found.alpha_type in found.others) == with_alpha, "no alpha plane")
    return found


def read_latents(data: bytes, model_folder: Path) -> list[NDArray[np.int64]]:
    """The latents [C, h * w] of each tile group."""
    file = read_file(data)
    require(file.layout != TOKENS and file.layers > 0, "no latents")
    model = Model(model_folder)
    channels = (1 + 63, 3 + 63 + 2 * 15, 3 * 64)[file.layout]
    result = []
    for number, (rows, columns) in enumerate(file.groups):
        stored = file.sections[number :: len(file.groups)]
        own = [Layer(section, model, file.merge_map, channels * rows * columns) for section in stored]
        planes = Group(model, own, file, rows, columns, file.pixel_section(number).graphic).decode()
        result.append(np.array(planes).reshape(channels, rows * columns))
    return result


# 6. PIXELS; the arithmetic is that of the docstrings of dct.py, seams.py and alpha.py


def basis_of(file: File, colours: list[list[int]]) -> NDArray[np.int64]:
    """The pixels of a cell that a coefficient of 1 in each channel adds, [C, 8, 8, components]."""
    components = 1 if file.layout == GREY else 3
    scale = [math.sqrt(1 / 8)] + [1 / 2] * 7
    basis = [[round(2**15 * scale[u] * math.cos((2 * x + 1) * u * math.pi / 16)) for x in range(8)] for u in range(8)]
    channels = [(component, "00") for component in range(components)]
    for number in range(len(TILES) if file.layout == COLOUR_8X8 else TILES_WITHOUT_8X8_CHROMA):
        component, coefficients = tile_coefficients(number)
        channels += [(component, pair) for pair in coefficients if component < components]
    found = []
    for component, pair in channels:
        column = [colours[c][component] for c in range(3)] if components == 3 else [2**13]
        rows, columns = (basis[int(digit)] for digit in pair)
        found.append([[[y * x * s + 2**24 >> 25 for s in column] for x in columns] for y in rows])
    return np.array(found, np.int64)


def read_pixels(data: bytes, latents: list[NDArray[np.int64]], model_folder: Path) -> NDArray[np.int64]:
    """The pixels [H, W, components] from the latents of each tile group; alpha is the last component."""
    file = read_file(data)
    basis = basis_of(file, load_file(model_folder / "model.safetensors")["color"].tolist())
    h, w = -(-file.height // 8), -(-file.width // 8)
    pixels = np.zeros((8 * h, 8 * w, basis.shape[3]), np.int64)
    side = 2**file.group_log2 if file.group_log2 else max(h, w)
    shift, most = 36 - file.depth, 2**file.depth - 1
    for (top, left), (rows, columns), own in zip(file.corners, file.groups, latents, strict=True):
        for cell, (row, column) in enumerate((row, column) for row in range(rows) for column in range(columns)):
            coefficients = np.clip(own[:, cell] * file.step, -(2**22), 2**22)
            block = np.tensordot(coefficients, basis, 1) + 128 * 2**28 + 2 ** (shift - 1) >> shift
            y, x = 8 * (top + row), 8 * (left + column)
            pixels[y : y + 8, x : x + 8] = np.clip(block, 0, most)
    pixels = pixels[: file.height, : file.width]
    for lines in (pixels.swapaxes(0, 1), pixels):
        for border in range(8 * side, len(lines), 8 * side):
            smooth_seam(lines, border, file.step << file.depth - 8, most)
    replace_graphic(file, pixels)
    return np.dstack([pixels, read_alpha(file)]) if file.alpha_type in file.others else pixels


def replace_graphic(file: File, pixels: NDArray[np.int64]) -> None:
    """Write the pixels of graphic cells over the others (6.2)."""
    palette = file.palette
    for number, place in enumerate(places_of(file)):
        section = file.pixel_section(number)
        there = pixels[place]
        own = np.zeros_like(there)
        read_graphic(section.indices, own, section.graphic, palette, file.kind)
        graphic = np.array(section.graphic).repeat(8, 0).repeat(8, 1)[: len(own), : own.shape[1]]
        there[graphic] = own[graphic]
    require(pixels.max() < 2**file.depth, "a sample of too many bits")


def places_of(file: File) -> list[tuple[slice, slice]]:
    """The pixels of each tile group."""
    corners = zip(file.corners, file.groups, strict=True)
    return [(slice(8 * y, min(8 * (y + h), file.height)), slice(8 * x, min(8 * (x + w), file.width))) for (y, x), (h, w) in corners]


def read_without_layers(data: bytes, model_folder: Path | None = None) -> NDArray[np.int64]:
    """The pixels [H, W, samples] of a file without layers, alpha included; files with patterns need their model (6.2)."""
    file = read_file(data)
    require(file.layers == 0, "layers")
    palette, kind = file.palette, file.kind
    sheets = [] if model_folder is None else read_sheets(model_folder)
    network = None if model_folder is None or file.depth > 8 else read_network(model_folder)
    require(model_folder is not None or not file.patterns, "no model")
    pixels = np.zeros((file.height, file.width, kind.samples), np.int64)
    for number, place in enumerate(places_of(file)):
        section, own = file.pixel_section(number), pixels[place]
        read_graphic(section.indices, own, section.known(copied=False), palette, kind, network if file.patterns else None)
        paste(own, section.copies, sheets)
        known = section.known(copied=True)
        if not all(map(all, known)):
            Predicted(section.predicted, own, known, kind)
    require(pixels.max() < 2**file.depth, "a sample of too many bits")
    return pixels


def read_sheets(model_folder: Path) -> list[NDArray[np.int64]]:
    """The sheets [H, W, 4] of a graphic model (graphic.py)."""
    tensors, at, found = load_file(model_folder / "model.safetensors"), 0, []
    for size in tensors["sheet.bytes"].tolist():
        found.append(read_without_layers(tensors["sheet.data"][at : at + size].tobytes()))
        at += size
    return found


def read_network(model_folder: Path) -> Network | None:
    """The network of a graphic model, if it has one (pixel_contexts.py)."""
    tensors = load_file(model_folder / "model.safetensors")
    found = {name.removeprefix("pixels."): array.astype(np.int64) for name, array in tensors.items() if name.startswith("pixels.")}
    return found or None


def smooth_seam(lines: NDArray[np.int64], border: int, limit: int, most: int) -> None:
    """Smooth in place across the border before a line."""
    if len(lines) - border < 4:
        return
    p, q = ([lines[border - 1 - i].copy() for i in range(4)], [lines[border + i].copy() for i in range(4)])
    e = 4 * (q[0] - p[0]) - (p[0] - p[2]) - (q[2] - q[0])
    e[32 * abs(e) > limit] = 0
    for i in range(4):
        change = (e * (4 - i) + 20) // 40
        lines[border - 1 - i] = np.clip(p[i] + change, 0, most)
        lines[border + i] = np.clip(q[i] - change, 0, most)


def read_alpha(file: File) -> NDArray[np.int64]:
    """The alpha plane [H, W]."""
    stored = file.others[file.alpha_type]
    head, deep, factor = stored[0], file.depth > 8, 1
    if deep and head & 16:
        head, deep, factor = head - 16, False, 257
    require(head >> 2 < 3, "a reserved mode")
    size = file.height * file.width
    flat = unpacked(stored[1:], size * (2 if deep else 1), head >> 2) if head >> 2 else stored[1:]
    differences = [256 * high + low for high, low in zip(flat[:size], flat[size:], strict=True)] if deep else list(flat)
    plane = np.array(differences).reshape(file.height, file.width)
    for axis in ((), (1,), (0,), (0, 1))[head & 3]:
        plane = np.cumsum(plane, axis)
    plane = plane % (65536 if deep else 256) * factor
    require(plane.max() < 2**file.depth, "alpha of too many bits")
    return plane


# 7. TOKENS


def read_tokens(data: bytes) -> list[list[int]]:
    """The rows of indices of a token file; no model is needed."""
    file = read_file(data)
    require(file.layout == TOKENS, "no tokens")
    b, side = (file.grid & 15) + 1, 16 if file.grid & 16 else 8
    h, w = -(-file.height // side), -(-file.width // side)
    reader = Bytes(file.sections[0])
    modes = reader.integer(1)
    require(modes & 0xF0 == 0, "reserved modes")
    low_mode, high_mode = modes & 3, modes >> 2
    if b <= 8:
        require(high_mode == 0, "no high plane")
        rest = len(reader.data) - reader.at
        indices = read_plane(reader.take(rest), low_mode, h * w, b)
    else:
        length = h * w if low_mode == 0 else reader.varint()
        low = read_plane(reader.take(length), low_mode, h * w, 8)
        high = read_plane(reader.take(len(reader.data) - reader.at), high_mode, h * w, b - 8)
        indices = [x + 256 * y for x, y in zip(low, high, strict=True)]
    require(all(index < 1 << b for index in indices), "an index of too many bits")
    return [indices[row * w : row * w + w] for row in range(h)]


def read_plane(stored: bytes, mode: int, n: int, width: int) -> list[int]:
    """The n values of `width` bits of a plane."""
    require(mode < 3, "reserved mode")
    if mode == 0:
        bits = "".join(f"{byte:08b}" for byte in stored)
        require(len(stored) == (n * width + 7) // 8 and "1" not in bits[n * width :], "not as many values")
        return [int(bits[i * width : (i + 1) * width], 2) for i in range(n)]
    return list(unpacked(stored, n, mode))
