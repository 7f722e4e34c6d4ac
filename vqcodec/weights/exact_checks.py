"""Checks of the tensors of an exact model (exact.py), by value: a parser may rely on every one of them."""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.entropy.codebooks import ALPHABET, ALPHABET_RAW_BITS
from vqcodec.entropy.linear import CLASSES
from vqcodec.errors import ModelError
from vqcodec.format.stream_forms import RUN_BITS
from vqcodec.format.zstd_blocks import HUFFMAN_MAX_BITS
from vqcodec.transform.color import COLOR_LIMIT
from vqcodec.transform.layouts import LATENT_UNIT, TILE_SIZES
from vqcodec.weights.folder import Tensors

_MAX_MAPS: Final = 32


def require(condition: bool | np.bool_, message: str) -> None:
    """Raise ModelError with the message unless the condition holds."""
    if not condition:
        raise ModelError(f"model: {message}")


def check_codebooks(tensors: Tensors) -> None:
    """Raise ModelError unless the tensors `book.*` agree with each other and with the alphabet of scalar codebooks."""
    dims, sizes, escapes = (tensors[f"book.{k}"].astype(np.int64) for k in ("dim", "size", "escape"))
    count = len(dims)
    require(1 <= count <= 255 and len(sizes) == len(escapes) == count, "book tensors differ in length")
    require(all(tensors[f"book.{k}"].ndim == 1 for k in ("words", "bits", "alphabet")), "book tensors are not one-dimensional")
    require(np.isin(dims, TILE_SIZES).all() and dims[-1] == 1, "a codebook's dimension is not 1, 2, 4 or 8")
    require(((sizes >= 1) & (sizes <= 256) & (escapes < sizes) & (escapes >= -1)).all(), "a codebook's size is wrong")
    scalar = dims == 1
    require((sizes[scalar] == len(ALPHABET)).all() and (escapes[scalar] == -1).all(), "a scalar codebook's size is wrong")
    require(len(tensors["book.words"]) == int((dims * sizes).sum()), "book.words has the wrong length")
    require(len(tensors["book.bits"]) == int(sizes.sum()), "book.bits has the wrong length")
    letters = tensors["book.alphabet"].reshape(int(scalar.sum()), len(ALPHABET))
    require((np.sort(letters, axis=1) == np.arange(len(ALPHABET))).all(), "an alphabet is not a permutation")
    starts = np.cumsum(dims * sizes) - dims * sizes
    for start, letter in zip(starts[scalar].tolist(), letters, strict=True):
        codewords, raw = tensors["book.words"][start : start + len(ALPHABET)], ALPHABET_RAW_BITS[letter] > 0
        require((codewords[raw] == ALPHABET[letter][raw] * LATENT_UNIT).all(), "a scalar codebook's large values are wrong")
    _check_table(tensors)


def _check_table(tensors: Tensors) -> None:
    """Raise ModelError unless every entry of `book.table` is a codebook that fits the tile, or -1."""
    table, dims = tensors["book.table"], tensors["book.dim"]
    require(table.shape == (2, len(TILE_SIZES), CLASSES), "book.table has the wrong shape")
    require(((table >= -1) & (table < len(dims))).all(), "book.table names a codebook that does not exist")
    for size_log in range(len(TILE_SIZES)):
        used = table[:, size_log][table[:, size_log] >= 0]
        require((dims[used] <= 1 << size_log).all(), "a codebook's dimension is larger than its tile")


def check_color(tensors: Tensors) -> None:
    """Raise ModelError unless the colour matrix has an inverse and no sum of its products overflows."""
    color = tensors["color"]
    require(color.shape == (3, 3) and int(np.abs(color.astype(np.int64)).sum(axis=1).max()) <= COLOR_LIMIT, "color is wrong")
    require(bool(np.linalg.det(color)), "color has no inverse")


def check_streams(tensors: Tensors) -> None:
    """Raise ModelError unless the merge maps, pair tables and dictionaries agree with each other."""
    maps, forms, given = tensors["merge.maps"], tensors["merge.form"], tensors["merge.dictionary"]
    zeros, tails = tensors["pairs.zeros"], tensors["pairs.tails"]
    books = len(tensors["book.dim"])
    require(maps.ndim == 2 and 1 <= len(maps) <= _MAX_MAPS and maps.shape[1] == books, "merge.maps is wrong")
    shapes_agree = given.shape == (*forms.shape, 2) and len(forms) == len(maps)
    require(shapes_agree and forms.shape[1] > int(maps.max()), "merge.form is wrong")
    tables_agree = zeros.shape == tails.shape and zeros.shape[1:] == (256,)
    require(tables_agree and int(forms.max(initial=0)) < 2 + len(zeros), "pairs are wrong")
    lengths = tensors["dictionary.lengths"]
    require(lengths.shape[1:] == (256,) and int(lengths.max(initial=0)) <= HUFFMAN_MAX_BITS, "dictionary.lengths is wrong")
    space = np.where(lengths > 0, 1 << HUFFMAN_MAX_BITS >> lengths.astype(np.int64), 0).sum(axis=1)
    require((space == 1 << HUFFMAN_MAX_BITS).all(), "a dictionary's Huffman code is not complete")
    require(int(given.max(initial=0)) <= len(lengths), "merge.dictionary names a dictionary that does not exist")
    runs = 1 << np.arange(RUN_BITS)
    require((zeros[:, 256 - RUN_BITS :] == runs).all() and (tails[:, 256 - RUN_BITS :] == -1).all(), "pairs lack runs")
    literal = 255 - RUN_BITS
    require((zeros[:, literal] == 0).all() and (tails[:, literal] == 256).all(), "pairs lack the literal")
    require(((tails >= -1) & (tails <= 256)).all(), "pairs have impossible symbols")
