"""Smoothing of the seams between tile groups. Groups are coded independently, so quantisation leaves a jump at their borders.

A jump that is small enough to come from quantisation is spread over four pixels on either side, less the part that the slopes on
both sides explain. All arithmetic is in integers, on the clamped pixels: first the borders between columns of groups, then those
between rows. For the pixels p3 p2 p1 p0 | q0 q1 q2 q3 of one component across a border:

    e = 4 (q0 - p0) - (p0 - p2) - (q2 - q0)
    if 32 |e| <= step << (depth - 8):  p_i += (e (4 - i) + 20) div 40,  q_i -= (e (4 - i) + 20) div 40;  both are clamped

div rounds towards minus infinity; `step` is in 1/64 of a grey level. A border with fewer than four pixels on one side is left as
it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vqcodec.arrays import Pixels

REACH: Final = 4
"""Pixels on either side of a border that are changed; the change depends on no others."""


def smooth_seams(pixels: Pixels, rows: Sequence[int], columns: Sequence[int], step_64: int, depth: int) -> None:
    """Smooth pixels [H, W, components] in place at the borders before the given rows and columns."""
    for border in columns:
        _smooth(pixels.swapaxes(0, 1), border, step_64, depth)
    for border in rows:
        _smooth(pixels, border, step_64, depth)


def _smooth(lines: Pixels, border: int, step_64: int, depth: int) -> None:
    """Smooth lines [n, ...] in place across the border before line `border`."""
    if not REACH <= border <= len(lines) - REACH:
        return
    near = lines[border - REACH : border + REACH].astype(np.int32)
    before, behind = near[REACH - 1 :: -1], near[REACH:]  # p0 p1 p2 p3, q0 q1 q2 q3
    excess = 4 * (behind[0] - before[0]) - (before[0] - before[2]) - (behind[2] - behind[0])
    excess[32 * np.abs(excess) > step_64 << (depth - 8)] = 0
    for i in range(REACH):
        share = (excess * (REACH - i) + 20) // 40
        before[i] += share
        behind[i] -= share
    lines[border - REACH : border + REACH] = np.clip(near, 0, (1 << depth) - 1)


def needed(first: int, stop: int, side: int, limit: int) -> tuple[int, int]:
    """The range (first, stop) of lines that lines first .. stop - 1 depend on, out of `limit` lines.

    There is a border every `side` lines; with `side` 0 there are none.
    """
    if side:
        before = (first + REACH - 1) // side * side  # the last border that changes line first
        behind = -(-(stop - REACH + 1) // side) * side  # the first border that changes line stop - 1
        if before > 0 and first < before + REACH:
            first = min(first, max(0, before - REACH))
        if behind < limit and stop > behind - REACH:
            stop = max(stop, min(limit, behind + REACH))
    return first, stop
