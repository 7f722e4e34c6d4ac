"""Pictures and labels of idx files."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.token_models import DIGITS, idx_bytes
from vqcodec.errors import InputError
from vqcodec.train import idx
from vqcodec.train.data import load_corpus


def test_pictures_of_an_idx_file(digits: Path) -> None:
    found = idx.read_pictures(digits)
    assert [name for name, _ in found[:5]] == ["0/000000", "1/000001", "2/000002", "3/000003", "0/000004"]
    np.testing.assert_array_equal([pixels for _, pixels in found], DIGITS)
    corpus = load_corpus(digits, lambda *_: None)
    assert (len(corpus.train), len(corpus.held_out)) == (22, 2)
    digits.with_name("few-labels-idx1-ubyte.gz").unlink()
    assert idx.read_pictures(digits)[4][0] == "000004"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data, "not a gzip file"),
        (lambda data: gzip.compress(data)[:-20], "not a gzip file, or damaged"),
        (lambda data: gzip.compress(data[:-1]), "its size differs from its header"),
        (lambda data: gzip.compress(data + b"\0"), "its size differs from its header"),
        (lambda data: gzip.compress(data[:9]), "not an idx file of bytes in 3 dimensions"),
        (lambda data: gzip.compress(b"\1" + data[1:]), "not an idx file of bytes in 3 dimensions"),
        (lambda data: gzip.compress(data[:8] + bytes(4) + data[12:]), "not an idx file of bytes in 3 dimensions"),
        (lambda data: gzip.compress(data[:4] + b"\xff" * 12 + data[16:]), "more than 268435456 bytes"),
    ],
)
def test_damaged_idx_files_are_refused(digits: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    digits.write_bytes(damage(gzip.decompress(digits.read_bytes())))
    with pytest.raises(InputError, match=message):
        idx.read_pictures(digits)


def test_labels_must_be_as_many_as_pictures(digits: Path) -> None:
    digits.with_name("few-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(23, np.uint8))))
    with pytest.raises(InputError, match="23 labels for 24 pictures"):
        idx.read_pictures(digits)
