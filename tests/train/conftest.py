"""Fixtures of the tests of training."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from helpers.token_models import DIGITS, idx_bytes


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """An idx file of pictures with its labels beside it, named as those of MNIST."""
    path = tmp_path / "few-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(DIGITS[:, :, :, 0])))
    (tmp_path / "few-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.arange(24, dtype=np.uint8) % 4)))
    return path
