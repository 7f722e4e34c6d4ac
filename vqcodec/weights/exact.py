"""A model that files are made with: codebooks, streams, predictions, and perhaps networks. folder.py has its folder and its id.

Every tensor that parsing needs is an integer array, so there is no NaN to fear; every value is checked when a model is loaded.

    color                int32 [3, 3]      colour matrix (color.py)
    book.table           int16 [2, 4, 32]  book of (DC or AC, log2 tile size, class); -1 codes nothing
    book.dim             uint8 [B]         dimension of each book; book B - 1 is the escape's scalar book
    book.size            uint16 [B]        codewords of each book
    book.escape          int16 [B]         rank of the escape, or -1
    book.words           int16 [sum d K]   codewords in 1/16 step, [d, K] of each book one after the other
    book.bits            uint16 [sum K]    static code lengths in 1/256 bit
    book.alphabet        uint8 [...]       143 for each scalar book, in order of books: place in vq.ALPHABET by rank
    merge.maps           uint8 [M, B]      stream of each book under each merge map; M is 32 at most
    merge.form           uint8 [M, S]      form of each stream: 0 direct, 1 split, else 2 + pair table
    merge.dictionary     uint16 [M, S, 2]  zstd dictionary of each part of a stream: 0 none, else 1 + its number
    pairs.zeros          uint8 [P, 256]    pair tables (stream_forms.py)
    pairs.tails          int16 [P, 256]
    dictionary.NNN       uint8 [...]       whole zstd dictionaries (RFC 8878, 5), numbered from 000 without gaps
    dictionary.lengths   uint8 [D, 256]    Huffman code length of each byte in each dictionary, 0 for none
    NAME.mean, NAME.mean_own, NAME.scale, NAME.scale_own, NAME.bias
                         int32             weights of prior.Predictor; NAME is tile.TT, dc.C.L.P or dc.root.C
        tiles: scale [2, F], scale_own [2], bias [2, 3], and where there is a mean: mean [2 T, G], mean_own [T, 4]
        DC passes: scale [1, F], scale_own [0], bias [1, 3], mean [1, G]; DC roots: scale [1, 0], scale_own [0], bias [1, 3]
    context.NAME         int16             weights of context.ContextNetwork, not in every model:
        shift [1], 1..10; luma.dc, luma.step, chroma.dc, chroma.step, tile.TT.state, .own, .hidden, .out, dc.C.L.P.first, .second,
        .out; biases of the last five int32, as NAME_bias
    synthesis.NAME       float16           weights of convolution.ConvNetwork; not in every model, and not needed to parse a file
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from vqcodec.arrays import Int16, UInt8
from vqcodec.entropy import dc_pyramid, linear
from vqcodec.entropy.codebook_search import Search
from vqcodec.entropy.codebooks import ALPHABET, ALPHABET_RAW_BITS, Codebook, SymbolTable
from vqcodec.entropy.context import ContextNetwork
from vqcodec.entropy.features import DC_ROWS, LUMA_MEAN_ROWS, TILE_ROWS
from vqcodec.errors import ModelError
from vqcodec.format.stream_forms import RUN_BITS, Direct, Form, Pairs, Split
from vqcodec.format.zstd_blocks import HUFFMAN_MAX_BITS, Dictionary
from vqcodec.nets.convolution import ConvNetwork
from vqcodec.nets.synthesis import FEATURES, OUTPUTS
from vqcodec.transform import layouts
from vqcodec.transform.color import COLOR_LIMIT
from vqcodec.transform.layouts import LATENT_UNIT
from vqcodec.weights.folder import Tensors, Weights, checking

DC_SET, AC_SET = 0, 1
TILE_SIZES: Final = (1, 2, 4, 8)


@dataclass(frozen=True)
class Stream:
    """How one stream of a merge map is written."""

    form: Form
    dictionaries: tuple[Dictionary | None, ...]
    """One for each part of the form."""

    @property
    def means(self) -> list[int]:
        """Mean code lengths of the parts' dictionaries, as `records.read_streams` wants them."""
        return [given.mean if given else 0 for given in self.dictionaries]


@dataclass(frozen=True, eq=False)
class ExactModel(Weights):
    """A loaded model that files are made with."""

    @property
    def table(self) -> Int16:
        """Codebook number of (set, log2 tile size, class), int16 [2, 4, 32]."""
        return self.tensors["book.table"]

    @cached_property
    def codebooks(self) -> tuple[Codebook, ...]:
        tensors, books = self.tensors, []
        word, entry, letter = 0, 0, 0
        for dim, size, escape in zip(*(tensors[f"book.{k}"].tolist() for k in ("dim", "size", "escape")), strict=True):
            words = tensors["book.words"][word : word + dim * size].reshape(dim, size)
            bits = tensors["book.bits"][entry : entry + size].astype(np.float32) * np.float32(1 / 256)
            alphabet = tensors["book.alphabet"][letter : letter + size] if dim == 1 else None
            books.append(Codebook(words, bits, escape, alphabet))
            word, entry, letter = word + dim * size, entry + size, letter + (size if dim == 1 else 0)
        return tuple(books)

    @cached_property
    def symbol_tables(self) -> dict[int, SymbolTable]:
        """The codebooks by dimension, for looking symbols up."""
        return {dim: SymbolTable.from_codebooks(self.codebooks, dim) for dim in {codebook.dim for codebook in self.codebooks}}

    def search(self, lambdas: tuple[float, ...]) -> Search:
        """The search through the codebooks with one lambda each, in squared steps per bit; cached."""
        if lambdas not in self._searches:
            self._searches[lambdas] = Search.from_codebooks(self.codebooks, lambdas)
        return self._searches[lambdas]

    @cached_property
    def _searches(self) -> dict[tuple[float, ...], Search]:
        return {}

    @property
    def maps(self) -> UInt8:
        """Stream of each book under each merge map, uint8 [M, B]."""
        return self.tensors["merge.maps"]

    @cached_property
    def dictionaries(self) -> tuple[Dictionary, ...]:
        return tuple(
            Dictionary(self.tensors[f"dictionary.{number:03d}"].tobytes(), lengths)
            for number, lengths in enumerate(self.tensors["dictionary.lengths"])
        )

    @cached_property
    def streams(self) -> tuple[tuple[Stream, ...], ...]:
        """The streams of every merge map."""
        pairs = [Pairs(zeros, tails) for zeros, tails in zip(self.tensors["pairs.zeros"], self.tensors["pairs.tails"], strict=True)]
        forms: list[Form] = [Direct(), Split(), *pairs]
        result = []
        for number, books in enumerate(self.maps):
            streams = []
            for stream in range(int(books.max()) + 1):
                form = forms[int(self.tensors["merge.form"][number, stream])]
                given = self.tensors["merge.dictionary"][number, stream, : form.parts].tolist()
                dictionaries = tuple(self.dictionaries[g - 1] if g else None for g in given)
                if isinstance(form, Pairs) and dictionaries[0]:
                    form = replace(form, lengths=dictionaries[0].lengths)
                streams.append(Stream(form, dictionaries))
            result.append(tuple(streams))
        return tuple(result)

    @cached_property
    def predictors(self) -> dict[str, linear.Predictor]:
        """Weights by name: `tile.TT`, `dc.C.L.P`, `dc.root.C`."""
        result = {}
        for name in predictor_names():
            mean = self.tensors.get(f"{name}.mean")
            own = self.tensors.get(f"{name}.mean_own")
            result[name] = linear.Predictor(
                None if mean is None else mean.astype(np.float32),
                None if own is None else own.astype(np.float32),
                self.tensors[f"{name}.scale"].astype(np.float32),
                self.tensors[f"{name}.scale_own"].astype(np.float32),
                self.tensors[f"{name}.bias"].astype(np.int64),
            )
        return result

    @cached_property
    def context(self) -> ContextNetwork | None:
        """The convolutional prior, where the model has one."""
        own = any(name.startswith("context.") for name in self.tensors)
        return ContextNetwork.from_tensors(self.tensors) if own else None

    @cached_property
    def synthesis(self) -> ConvNetwork | None:
        """The network behind the plain decode, where the model has one."""
        if "synthesis.head" not in self.tensors:
            return None
        return ConvNetwork.from_tensors(self.tensors, "synthesis", inputs=FEATURES, outputs=OUTPUTS)

    def check(self) -> None:
        """Raise ModelError unless every tensor is present, of the right shape, and within bounds."""
        with checking("model", self.tensors):
            _check_books(self.tensors)
            _check_streams(self.tensors)
            for name, predictor in self.predictors.items():
                _check_shapes(name, predictor)
                predictor.check_bounds(name)
            _ = self.streams, self.context, self.synthesis


def tile_name(tile: layouts.Tile) -> str:
    return f"tile.{tile.number:02d}"


def predictor_names() -> list[str]:
    """Names of all weight sets a model must have."""
    tiles = [tile_name(tile) for tile in layouts.COLOR_8X8.tiles]
    return tiles + [name for c in range(3) for name in (f"dc.root.{c}", *dc_pyramid.pass_names(c))]


def mean_rows() -> dict[int, int]:
    """Rows of mean features of every tile that has a predicted mean, by tile number."""
    seen, luma_rows, rows = [0, 0, 0], 8, {}
    for tile in layouts.COLOR_8X8.tiles:
        if linear.has_mean(tile, seen[tile.component]):
            rows[tile.number] = luma_rows if tile.component == 0 else 8
        seen[tile.component] += 1
        if tile.component == 0:
            luma_rows = min(luma_rows + 5 * tile.size, LUMA_MEAN_ROWS)
    return rows


def scale_rows() -> dict[int, int]:
    """Rows of scale features of every tile, by tile number."""
    luma, chroma, rows = DC_ROWS, 2 * DC_ROWS, {}
    for tile in layouts.COLOR_8X8.tiles:
        rows[tile.number] = luma if tile.component == 0 else luma + chroma
        if tile.component == 0:
            luma += TILE_ROWS
        else:
            chroma += TILE_ROWS
    return rows


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelError(f"model: {message}")


def _check_shapes(name: str, predictor: linear.Predictor) -> None:
    means: tuple[tuple[int, int] | None, tuple[int, int] | None]
    if name.startswith("tile."):
        tile = layouts.COLOR_8X8.tiles[int(name[5:])]
        rows = mean_rows().get(tile.number)
        means = (None, None) if rows is None else ((2 * tile.size, rows), (tile.size, 4))
        scales = (2, scale_rows()[tile.number]), (2,), (2, 3)
    elif name.startswith("dc.root."):
        means, scales = (None, None), ((1, 0), (0,), (1, 3))
    else:
        component, number = int(name[3]), int(name[7])
        means, scales = ((1, dc_pyramid.MEAN_ROWS[component][number]), None), ((1, dc_pyramid.SCALE_ROWS[component]), (0,), (1, 3))
    found = tuple(None if a is None else a.shape for a in (predictor.mean, predictor.mean_own))
    shapes = (predictor.scale.shape, predictor.scale_own.shape, predictor.bias.shape)
    _require(found == means and shapes == scales, f"weights of {name} have shapes {found + shapes}, not {means + scales}")


def _check_books(tensors: Tensors) -> None:
    dims, sizes, escapes = (tensors[f"book.{k}"].astype(np.int64) for k in ("dim", "size", "escape"))
    table, color = tensors["book.table"], tensors["color"]
    count = len(dims)
    _require(1 <= count <= 255 and len(sizes) == len(escapes) == count, "book tensors differ in length")
    _require(all(tensors[f"book.{k}"].ndim == 1 for k in ("words", "bits", "alphabet")), "book tensors are no lists")
    _require(bool(np.isin(dims, TILE_SIZES).all() and dims[-1] == 1), "a book's dimension is not 1, 2, 4 or 8")
    _require(bool(((sizes >= 1) & (sizes <= 256) & (escapes < sizes) & (escapes >= -1)).all()), "a book's size is wrong")
    scalar = dims == 1
    _require(bool((sizes[scalar] == len(ALPHABET)).all() and (escapes[scalar] == -1).all()), "a scalar book's size is wrong")
    _require(len(tensors["book.words"]) == int((dims * sizes).sum()), "book.words has the wrong length")
    _require(len(tensors["book.bits"]) == int(sizes.sum()), "book.bits has the wrong length")
    letters = tensors["book.alphabet"].reshape(int(scalar.sum()), len(ALPHABET))
    _require(bool((np.sort(letters, axis=1) == np.arange(len(ALPHABET))).all()), "an alphabet is no permutation")
    starts = np.cumsum(dims * sizes) - dims * sizes
    for start, letter in zip(starts[scalar].tolist(), letters, strict=True):
        words, raw = tensors["book.words"][start : start + len(ALPHABET)], ALPHABET_RAW_BITS[letter] > 0
        _require(bool((words[raw] == ALPHABET[letter][raw] * LATENT_UNIT).all()), "a scalar book's large values are wrong")
    _require(table.shape == (2, len(TILE_SIZES), linear.CLASSES), "book.table has the wrong shape")
    _require(bool(((table >= -1) & (table < count)).all()), "book.table names a book that is not there")
    for size_log in range(len(TILE_SIZES)):
        used = table[:, size_log][table[:, size_log] >= 0]
        _require(bool((dims[used] <= 1 << size_log).all()), "a book is longer than its tile")
    _require(color.shape == (3, 3) and int(np.abs(color.astype(np.int64)).sum(axis=1).max()) <= COLOR_LIMIT, "color is wrong")
    _require(bool(np.linalg.det(color)), "color has no inverse")


def _check_streams(tensors: Tensors) -> None:
    maps, forms, given = tensors["merge.maps"], tensors["merge.form"], tensors["merge.dictionary"]
    zeros, tails = tensors["pairs.zeros"], tensors["pairs.tails"]
    _require(maps.ndim == 2 and 1 <= len(maps) <= 32 and maps.shape[1] == len(tensors["book.dim"]), "merge.maps is wrong")
    _require(
        given.shape == (*forms.shape, 2) and len(forms) == len(maps) and forms.shape[1] > int(maps.max()),
        "merge.form is wrong",
    )
    _require(
        zeros.shape == tails.shape and zeros.shape[1:] == (256,) and int(forms.max(initial=0)) < 2 + len(zeros),
        "pairs are wrong",
    )
    lengths = tensors["dictionary.lengths"]
    _require(lengths.shape[1:] == (256,) and int(lengths.max(initial=0)) <= HUFFMAN_MAX_BITS, "dictionary.lengths is wrong")
    space = np.where(lengths > 0, 1 << HUFFMAN_MAX_BITS >> lengths.astype(np.int64), 0).sum(axis=1)
    _require(bool((space == 1 << HUFFMAN_MAX_BITS).all()), "a dictionary's code is not complete")
    _require(int(given.max(initial=0)) <= len(lengths), "merge.dictionary names one that is not there")
    runs = 1 << np.arange(RUN_BITS)
    _require(bool((zeros[:, 256 - RUN_BITS :] == runs).all() and (tails[:, 256 - RUN_BITS :] == -1).all()), "pairs lack runs")
    _require(
        bool((zeros[:, 255 - RUN_BITS] == 0).all() and (tails[:, 255 - RUN_BITS] == 256).all()),
        "pairs lack the literal",
    )
    _require(bool(((tails >= -1) & (tails <= 256)).all()), "pairs have impossible symbols")
