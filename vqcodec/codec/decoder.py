"""Latents -> pixels: exactly, restored by a network, sharpened, a part of them, or smaller."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from vqcodec.arrays import Int16, Pixels, UInt8
from vqcodec.codec.sharpening import Sharpener
from vqcodec.codec.walk import Indices, OpenGroup, Rectangle, each_group, finish_group, layer_of_tile
from vqcodec.format import alpha
from vqcodec.format.header import Header
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import MIN_STEP_LEVELS, DecodeRows, plain_coefficients, synthesise
from vqcodec.runtime import progress
from vqcodec.runtime.workers import shared_empty, side_by_side
from vqcodec.transform import dct, seams
from vqcodec.transform.layouts import LAYOUTS, Layout
from vqcodec.weights.exact import ExactModel


def reconstruct(header: Header, latents: Sequence[Int16], model: ExactModel, threads: int = 1) -> Pixels:
    """Latents of every tile group to pixels [H, W, components]; exact."""
    layout = LAYOUTS[header.layout]
    matrix = dct.inverse_matrix(layout, model.color)
    pixels = shared_empty((header.height, header.width, layout.components), dct.sample_type(header.depth))

    def place(number: int) -> None:
        group = header.groups[number]
        top, left, h, w = (8 * v for v in group)
        part = pixels[top : top + h, left : left + w]
        dct.inverse(latents[number], header.step_64, group[2:], matrix, part, header.depth)

    side_by_side(place, range(len(latents)), threads)
    smooth_seams(header, pixels, (0, 0))
    return pixels


def smooth_seams(header: Header, pixels: Pixels, origin: tuple[int, int]) -> None:
    """Smooth, in place, where the tile groups meet in pixels [H, W, components] whose first one is at `origin` (row, column)."""
    if header.group_log2:
        side = 8 << header.group_log2
        rows, columns = (
            [border - first for border in range(first // side * side + side, first + size, side)]
            for first, size in zip(origin, pixels.shape, strict=False)
        )
        seams.smooth_seams(pixels, rows, columns, header.step_64, header.depth)


def _with_seams(header: Header, region: Rectangle) -> Rectangle:
    """A region, in pixels, with what its pixels depend on beyond."""
    side = 8 << header.group_log2 if header.group_log2 else 0
    top, bottom = seams.needed(region[0], region[0] + region[2], side, header.height)
    left, right = seams.needed(region[1], region[1] + region[3], side, header.width)
    return top, left, bottom - top, right - left


def decode(header: Header, indices: Indices, model: ExactModel, threads: int = 1, region: Rectangle | None = None) -> Pixels:
    """The pixels [H, W, components] of a file, or of a region of it (in pixels), from the tile groups that it touches; bit-exact.

    Raises CorruptError.
    """
    layout = LAYOUTS[header.layout]
    matrix = dct.inverse_matrix(layout, model.color)
    wanted = region or (0, 0, header.height, header.width)
    top, left, height, width = around = _with_seams(header, wanted)
    pixels = shared_empty((height, width, layout.components), dct.sample_type(header.depth))

    def one(opened: OpenGroup) -> None:
        y, x, h, w = opened.place
        latents = finish_group(header, opened, model).reshape(-1, h, w)
        # the cells that the region touches, in pixels
        first, last = max(8 * y, top & ~7), min(8 * (y + h), header.height, top + height + 7 & ~7)
        west, east = max(8 * x, left & ~7), min(8 * (x + w), header.width, left + width + 7 & ~7)
        cells = latents[:, first // 8 - y : -(-last // 8) - y, west // 8 - x : -(-east // 8) - x]
        inside = first >= top and west >= left and last <= top + height and east <= left + width
        if inside:  # no copy
            whole = pixels[first - top : last - top, west - left : east - left]
        else:
            whole = np.empty((last - first, east - west, layout.components), pixels.dtype)
        flat = np.ascontiguousarray(cells).reshape(len(cells), -1)
        dct.inverse(flat, header.step_64, cells.shape[1:], matrix, whole, header.depth)
        if not inside:
            above, below, start, stop = max(first, top), min(last, top + height), max(west, left), min(east, left + width)
            part = whole[above - first : below - first, start - west : stop - west]
            pixels[above - top : below - top, start - left : stop - left] = part

    each_group(header, indices, model, groups_touched(header, around), threads, one)
    smooth_seams(header, pixels, (top, left))
    return _cut(pixels, around, wanted)


def _cut(pixels: Pixels, around: Rectangle, wanted: Rectangle) -> Pixels:
    """The pixels of one rectangle out of those of another around it."""
    top, left = wanted[0] - around[0], wanted[1] - around[1]
    return pixels[top : top + wanted[2], left : left + wanted[3]]


def groups_touched(header: Header, region: Rectangle) -> list[int]:
    """Numbers of the tile groups that a region, in pixels, touches."""
    top, left, height, width = region
    return [
        number
        for number, (y, x, h, w) in enumerate(header.groups)
        if 8 * y < top + height and 8 * (y + h) > top and 8 * x < left + width and 8 * (x + w) > left
    ]


def decode_refined(
    header: Header,
    indices: Indices,
    model: ExactModel,
    threads: int = 1,
    region: Rectangle | None = None,
    run: convolution.RunNetwork | None = None,
    sharpener: Sharpener | None = None,
) -> Pixels:
    """As `decode`, with the model's synthesis, where it has one: closer to the original, and within 1 of 255 the same on every
    machine; and sharpened behind that.

    `run` runs the synthesis elsewhere than here, one strip at a time. Raises CorruptError.
    """
    if (model.synthesis is None and sharpener is None) or header.step_levels < MIN_STEP_LEVELS:
        return decode(header, indices, model, threads, region)
    wanted = region or (0, 0, header.height, header.width)
    top, left, height, width = around = _with_seams(header, wanted)
    halo = (model.synthesis.halo if model.synthesis else 0) + (sharpener.halo if sharpener else 0)
    h, w = header.cells
    y, x = max(0, top // 8 - halo), max(0, left // 8 - halo)  # cells that the region's pixels depend on
    rows = min(h, -(-(top + height) // 8) + halo) - y
    columns = min(w, -(-(left + width) // 8) + halo) - x
    found = shared_empty((LAYOUTS[header.layout].channels, rows, columns), np.int16)

    def one(opened: OpenGroup) -> None:
        group = opened.place
        place_latents(found, (group[0] - y, group[1] - x, *group[2:]), finish_group(header, opened, model))

    each_group(header, indices, model, groups_touched(header, (8 * y, 8 * x, 8 * rows, 8 * columns)), threads, one)
    size = min(header.height - 8 * y, 8 * rows), min(header.width - 8 * x, 8 * columns)
    pixels = refine(header, found, model, size, threads, run, sharpener, (y, x))
    pixels = _cut(pixels, (8 * y, 8 * x, *size), around)
    smooth_seams(header, pixels, (top, left))
    return _cut(pixels, around, wanted)


def place_latents(whole: Int16, group: Rectangle, latents: Int16) -> None:
    """Put the latents int16 [C, cells] of a tile group, where they lie inside, into `whole` int16 [C, rows, columns]."""
    top, left, rows, columns = group
    given = latents.reshape(-1, rows, columns)[:, max(0, -top) :, max(0, -left) :]
    room = whole[:, max(0, top) : max(0, top + rows), max(0, left) : max(0, left + columns)]
    room[:] = given[:, : room.shape[1], : room.shape[2]]


def refine(
    header: Header,
    latents: Int16,
    model: ExactModel,
    size: tuple[int, int],
    threads: int = 1,
    run: convolution.RunNetwork | None = None,
    sharpener: Sharpener | None = None,
    corner: tuple[int, int] = (0, 0),
) -> Pixels:
    """Latents int16 [C, h, w] to pixels [H, W, components] of `size` (H, W), with the model's synthesis, where it has one, and
    sharpened. `corner` is the place of the first cell in the picture."""
    step = header.step_levels
    layout, (h, w) = LAYOUTS[header.layout], latents.shape[1:]
    flat = latents.reshape(len(latents), -1)
    full = layout.whole
    matrix = (dct.inverse_matrix(full, model.color) / (1 << dct.SHIFT)).astype(np.float32)
    pixels = shared_empty((*size, layout.components), dct.sample_type(header.depth))
    restored, halo = restorer(model, flat, step, (h, w), layout, run)
    elsewhere = run is not None
    if sharpener is not None:
        halo, elsewhere = sharpener.halo, elsewhere or sharpener.run is not None
        restored = partial(
            sharpener.sharpen, decoded=restored, latents=flat, step_levels=step, grid=(h, w), layout=layout, corner=corner
        )

    def strip(rows: tuple[int, int]) -> None:
        dct.inverse_float(restored(rows), w, matrix, pixels[8 * rows[0] : 8 * rows[1]], header.depth)

    with progress.stage("restoring"):
        side_by_side(strip, convolution.strips(halo, (h, w)), 1 if elsewhere else threads)
    return pixels


def restorer(
    model: ExactModel,
    latents: Int16,
    step: float,
    grid: tuple[int, int],
    layout: Layout,
    run: convolution.RunNetwork | None = None,
) -> tuple[DecodeRows, int]:
    """What gives the best coefficients that a model has for rows of latents int16 [C, h * w], and its halo; `step` is in grey
    levels."""
    if model.synthesis is None:
        return partial(plain_coefficients, latents, step, grid, layout), 0
    halo = model.synthesis.halo
    run = run or partial(convolution.run_network, model.synthesis)
    return partial(synthesise, run, halo, latents, step, grid, layout), halo


def decode_scaled(
    header: Header,
    indices: Indices,
    model: ExactModel,
    scale: int,
    threads: int = 1,
    plane: UInt8 | None = None,
) -> Pixels:
    """The picture at 1/8, 1/4 or 1/2 (`scale` 8, 4, 2) of its size, rounded up, from its low frequencies alone: pixels [H', W', c].

    Only what these need is decoded: for 8 the DCs. Where an alpha `plane` uint8 [H, W] says that pixels of one square are not
    equally opaque, their tile group is decoded as a whole and their colours are weighted by it. Not exact as `decode` is. Raises
    CorruptError.
    """
    layout, side = LAYOUTS[header.layout], 8 // scale
    matrix, channels = dct.scaled_matrix(layout, model.color, side)
    tiles = sum(tile.first <= channels[-1] for tile in layout.tiles)
    layers = 1 if tiles == 0 else 1 + layer_of_tile(layout, header.layers, tiles - 1)
    mixed = None if plane is None else alpha.mixed_boxes(plane, scale)
    if mixed is not None and mixed.any():
        layers = header.layers
    whole_matrix = dct.inverse_matrix(layout, model.color)
    shape = -(-header.height // scale), -(-header.width // scale), layout.components
    pixels = shared_empty(shape, dct.sample_type(header.depth))

    def one(opened: OpenGroup) -> None:
        top, left, h, w = opened.place
        here = np.s_[side * top : side * (top + h), side * left : side * (left + w)]
        part, full = pixels[here], mixed is not None and bool(mixed[here].any())
        latents = finish_group(header, opened, model, None if full else tiles) if tiles or full else opened.dcs
        coefficients = latents[channels] * np.float32(header.step_64 / (64 * 16))
        dct.inverse_float(coefficients, w, matrix, part, header.depth)
        if mixed is not None and plane is not None and full:
            opacity = plane[8 * top : 8 * (top + h), 8 * left : 8 * (left + w)]
            group = np.empty((*opacity.shape, layout.components), pixels.dtype)
            dct.inverse(latents, header.step_64, (h, w), whole_matrix, group, header.depth)
            alpha.weigh_colours(part, mixed[here], group, opacity, scale)

    each_group(header, indices, model, range(len(header.groups)), threads, one, layers)
    return pixels
