"""The pipeline page: encode and decode are inverse, and all ways lead through it."""

import numpy as np
import pytest

from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.codec import pipeline
from vqcodec.errors import CorruptError
from vqcodec.format.header import Metadata
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.weights import registry


@pytest.mark.parametrize("model", ["photo-lite", "mnist-token"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_are_those_of_the_api(model: str, channels: int) -> None:
    """Also with alpha, of both kinds of models."""
    pixels = smooth_picture(28, 28, 1).reshape(28, 28)
    if channels == 2:
        pixels = np.dstack([pixels, np.full((28, 28), 200, np.uint8)])
    found, metadata = registry.find_any(model), Metadata(icc=b"profile")
    data = pipeline.encode(pixels, found, EncodeOptions(effort=1), metadata)
    assert data == api.encode(pixels, model=model, effort=1, metadata=metadata)
    np.testing.assert_array_equal(pipeline.decode(data, found, DecodeOptions(refine="none")), api.decode(data, refine="none"))


def test_a_damaged_file_is_refused() -> None:
    model = registry.find("photo-lite")
    data = bytearray(pipeline.encode(smooth_picture(16, 16, 3), model, EncodeOptions(effort=1)))
    data[-1] ^= 1
    with pytest.raises(CorruptError):
        pipeline.decode(bytes(data), model, DecodeOptions())


def test_the_page_is_a_page() -> None:
    """A reader takes it in at once: no more than 150 lines, and both directions name their stages."""
    assert pipeline.__file__ is not None
    with open(pipeline.__file__) as file:
        lines = file.read().splitlines()
    assert len(lines) <= 150
