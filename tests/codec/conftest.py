"""Fixtures of the codec's tests."""

import pytest

from helpers.encoded import grouped
from helpers.pictures import smooth_picture


@pytest.fixture(scope="session")
def file() -> bytes:
    return grouped(smooth_picture(150, 170))
