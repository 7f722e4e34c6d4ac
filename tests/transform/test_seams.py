"""Seams between tile groups: smoothing against plain integer arithmetic, and what it depends on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.transform import dct
from vqcodec.transform.seams import needed, smooth_seams


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 10, 12, 16]), st.sampled_from([64, 32 * 56, 65535]))
def test_seams_are_smoothed_in_integer_arithmetic(seed: int, depth: int, step_64: int) -> None:
    """The docstring's formula, pixel by pixel, near black and white, with jumps across the border around the threshold."""
    rng = np.random.default_rng(seed)
    most = (1 << depth) - 1
    lines = rng.integers(-6, 7, (8, 40)) << (depth - 8)
    lines += rng.choice([0, most // 2, most], 40)
    e = (step_64 << (depth - 8)) // 32 + rng.integers(-3, 4, 40)
    lines[4:] += rng.choice([-1, 1], 40) * (e // 4)
    lines = np.clip(lines, 0, most).astype(dct.sample_type(depth))
    wanted = lines.astype(int).T.tolist()
    for line in wanted:
        p, q = line[3::-1], line[4:]
        e = 4 * (q[0] - p[0]) - (p[0] - p[2]) - (q[2] - q[0])
        if 32 * abs(e) <= step_64 << (depth - 8):
            changes = [(e * (4 - i) + 20) // 40 for i in range(4)]
            p = [max(0, min(most, pixel + change)) for pixel, change in zip(p, changes, strict=True)]
            q = [max(0, min(most, pixel - change)) for pixel, change in zip(q, changes, strict=True)]
            line[:] = [*p[::-1], *q]
    smooth_seams(lines, [4], [], step_64, depth)
    np.testing.assert_array_equal(lines.T, wanted)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 300), st.integers(1, 60), st.sampled_from([0, 64, 128]))
def test_needed_lines_suffice_to_smooth(first: int, count: int, side: int) -> None:
    """Lines smoothed within their needed range are those of the whole picture."""
    limit = 360
    stop = min(limit, first + count)
    low, high = needed(first, stop, side, limit)
    lines = np.random.default_rng(first).integers(90, 110, (limit, 5, 1), dtype=np.uint8)
    borders = list(range(side, limit, side)) if side else []
    whole, part = lines.copy(), lines[low:high].copy()
    smooth_seams(whole, borders, [], 65535, 8)
    smooth_seams(part, [border - low for border in borders if low < border < high], [], 65535, 8)
    np.testing.assert_array_equal(part[first - low : stop - low], whole[first:stop])
    assert first - 4 - 3 <= low <= first
    assert stop <= high <= stop + 4 + 3
