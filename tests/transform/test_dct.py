"""The DCT with colour: both directions, and the exact inverse against integer arithmetic."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vqcodec.transform import dct, layouts
from vqcodec.transform.color import OPPONENT

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=30)
@given(seeds, st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 3]))
def test_pixels_come_back_from_fine_latents(seed: int, height: int, width: int, components: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, components), dtype=np.uint8)
    layout = layouts.GREY if components == 1 else layouts.COLOR_8X8
    coefficients = dct.forward(pixels, layout, OPPONENT)  # grey levels
    step_64 = 64  # one grey level; latents are in 1/16 of it
    latents = np.rint(coefficients * 16).astype(np.int16)
    out = np.empty_like(pixels)
    dct.inverse(latents, step_64, (-(-height // 8), -(-width // 8)), dct.inverse_matrix(layout, OPPONENT), out)
    assert int(np.abs(out.astype(int) - pixels).max()) <= 1


@settings(max_examples=30)
@given(seeds, st.integers(1, 65535), st.sampled_from([None, (-32767, 32768), (-32767, 1), (0, 32768)]))
@example(seed=0, step_64=65535, extreme=(-32767, 1))
def test_the_inverse_transform_is_integer_arithmetic(seed: int, step_64: int, extreme: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(seed)
    layout = layouts.LAYOUTS[seed % 3]
    shape = layout.channels, 2
    latents = (rng.integers(*extreme, shape) if extreme else rng.laplace(0, 40, shape)).astype(np.int16)
    matrix = dct.inverse_matrix(layout, OPPONENT)
    assert np.array_equal(matrix, np.rint(matrix))
    out = np.empty((8, 16, layout.components), np.uint8)
    dct.inverse(latents, step_64, (1, 2), matrix, out)
    whole = matrix.astype(np.int64).tolist()
    for cell in range(2):
        values = [max(-dct.COEFFICIENT_MAX, min(dct.COEFFICIENT_MAX, int(v) * step_64)) for v in latents[:, cell]]
        for position in (0, 7, 77 % len(whole[0]), len(whole[0]) - 1):
            exact = sum(v * row[position] for v, row in zip(values, whole, strict=True))
            level = (exact + (257 << dct.COEFFICIENT_SHIFT + dct.SHIFT - 1)) >> dct.COEFFICIENT_SHIFT + dct.SHIFT
            block = out[:, 8 * cell : 8 * cell + 8].reshape(-1)
            assert block[position] == max(0, min(255, level))
