"""Downscaling with alpha, against loops over the squares."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.transform import downscaling


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20), st.sampled_from([2, 4, 8]))
def test_squares_with_alpha(seed: int, height: int, width: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    plane = (rng.integers(0, 3, (height, width)) * 100).astype(np.uint8)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    shape = -(-height // scale), -(-width // scale)
    small, mixed = np.full((*shape, 3), 7, np.uint8), downscaling.mixed_squares(plane, scale)
    downscaling.weigh_colours(small, mixed, picture, plane, scale)
    for y, x in np.ndindex(shape):
        rows = np.minimum(np.arange(y * scale, (y + 1) * scale), height - 1)
        columns = np.minimum(np.arange(x * scale, (x + 1) * scale), width - 1)
        alpha = plane[np.ix_(rows, columns)].astype(float)
        assert downscaling.downscale(plane, scale)[y, x] == np.floor(alpha.mean() + 0.5)
        assert mixed[y, x] == (alpha.min() < alpha.max())
        if mixed[y, x]:
            mean = (picture[np.ix_(rows, columns)] * alpha[..., None]).sum(axis=(0, 1)) / alpha.sum()
            np.testing.assert_allclose(small[y, x], mean, atol=0.5001)
        else:
            assert np.all(small[y, x] == 7)
