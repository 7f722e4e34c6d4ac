"""Seams between tile groups, made invisible: each group's predictions end at its border, so the slopes of both sides break there.

Where the step across a border is no more than coarse quantisation makes it, it is spread over four pixels on either side, less what
the slopes on both sides let expect. All in integers, after the pixels are clamped: first at the borders between columns of
groups, then at those between rows. For the pixels p3 p2 p1 p0 | q0 q1 q2 q3 of one component across a border:

    e = 4 (q0 - p0) - (p0 - p2) - (q2 - q0)
    where 32 |e| <= step << (depth - 8):  p_i += (e (4 - i) + 20) div 40,  q_i -= the same;  clamped

(div rounds towards minus infinity.) A border with fewer than four pixels on one side is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vqcodec.arrays import Pixels

REACH: Final = 4
"""Pixels on either side that are changed, and that the change depends on."""


def smooth_seams(pixels: Pixels, rows: Sequence[int], columns: Sequence[int], step: int, depth: int) -> None:
    """Smooth pixels [H, W, components] in place at the borders before these rows and columns. `step` in 1/64 of a grey level."""
    for border in columns:
        _smooth(pixels.swapaxes(0, 1), border, step, depth)
    for border in rows:
        _smooth(pixels, border, step, depth)


def _smooth(lines: Pixels, border: int, step: int, depth: int) -> None:
    """Lines [n, ...], of which `border` is the first behind a border."""
    if not REACH <= border <= len(lines) - REACH:
        return
    near = lines[border - REACH : border + REACH].astype(np.int32)
    before, behind = near[REACH - 1 :: -1], near[REACH:]  # p0 p1 p2 p3, q0 q1 q2 q3
    excess = 4 * (behind[0] - before[0]) - (before[0] - before[2]) - (behind[2] - behind[0])
    excess[32 * np.abs(excess) > step << (depth - 8)] = 0
    for i in range(REACH):
        share = (excess * (REACH - i) + 20) // 40
        before[i] += share
        behind[i] -= share
    lines[border - REACH : border + REACH] = np.clip(near, 0, (1 << depth) - 1)


def needed(first: int, stop: int, side: int, limit: int) -> tuple[int, int]:
    """The lines that lines first .. stop - 1 depend on, of `limit`, with a border every `side` lines (0: none)."""
    if side:
        before = (first + REACH - 1) // side * side  # the last border that first feels
        behind = -(-(stop - REACH + 1) // side) * side  # the first border that stop - 1 feels
        if before > 0 and first < before + REACH:
            first = min(first, max(0, before - REACH))
        if behind < limit and stop > behind - REACH:
            stop = max(stop, min(limit, behind + REACH))
    return first, stop
