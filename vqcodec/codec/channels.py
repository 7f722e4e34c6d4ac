"""A picture's channels <-> its colours and its alpha plane, and the sections other than index sections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vqcodec.arrays import Pixels
from vqcodec.codec.reader import METADATA
from vqcodec.errors import InputError
from vqcodec.format import alpha, container
from vqcodec.format.header import MAX_METADATA, Header, Metadata, Section
from vqcodec.transform import downscaling
from vqcodec.transform.rect import Rect


def split(pixels: Pixels) -> tuple[Pixels, Pixels | None]:
    """Samples [H, W] or [H, W, 1 to 4] to grey or RGB samples [H, W, 1 or 3], and the alpha plane [H, W], if there is one.

    Raises InputError for pictures that are too large.
    """
    picture = with_channels(pixels)
    if picture.shape[2] in (1, 3):
        return picture, None
    return np.ascontiguousarray(picture[:, :, :-1]), np.ascontiguousarray(picture[:, :, -1])


def with_channels(pixels: Pixels) -> Pixels:
    """Samples [H, W] or [H, W, 1 to 4] as [H, W, 1 to 4]. Raises InputError for pictures that are too large."""
    if max(pixels.shape[:2]) > container.MAX_SIDE:
        raise InputError(f"pictures have at most {container.MAX_SIDE} pixels a side")
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def with_opacity(colours: Pixels, opacity: Pixels | None) -> Pixels:
    """Samples [H, W, 1 or 3] and the alpha plane [H, W], if there is one, as samples [H, W, 1 to 4]."""
    return colours if opacity is None else np.concatenate([colours, opacity[:, :, None]], axis=2)


def join(pixels: Pixels, opacity: Pixels | None, region: Rect | None = None, scale: int = 1) -> Pixels:
    """Decoded samples [h, w, 1 or 3] and the alpha plane [H, W] of the whole picture to [h, w] or [h, w, 2 to 4].

    The inverse of `split`, also for a `region` in pixels or a picture `scale` times smaller.
    """
    if opacity is None:
        own = np.array(pixels)  # a copy that the user may write to: decoding happens in shared memory
        return own[:, :, 0] if own.shape[2] == 1 else own
    plane = downscaling.downscale(opacity, scale) if scale > 1 else opacity
    if region is not None:
        plane = plane[region.rows, region.columns]
    return np.concatenate([pixels, plane[:, :, None]], axis=2)


def in_colour(colours: Pixels, header: Header) -> Pixels:
    """Decoded samples [h, w, 1 or 3] with the components of the picture, of which a grey file may hold one of three equal ones."""
    return colours.repeat(3, axis=2) if header.equal_components else colours


def depth_of(*samples: Pixels) -> int:
    """Bits of a sample: 8, or for uint16 the least of 10, 12 and 16 that holds all samples of these arrays."""
    if samples[0].dtype == np.uint8:
        return 8
    needed = max(int(each.max()).bit_length() for each in samples)
    return next(depth for depth in (10, 12, 16) if depth >= needed)


def alpha_sections(opacity: Pixels | None, levels: Sequence[int]) -> list[Section]:
    """The section of an alpha plane [H, W], if there is one. `levels` of zstd are tried."""
    return [] if opacity is None else [_alpha_section(opacity, tuple(levels))]


def metadata_sections(metadata: Metadata) -> list[Section]:
    """Sections of the metadata. Raises InputError for more than 16 MiB."""
    given = [(kind, getattr(metadata, name)) for name, kind in METADATA.items()]
    if any(len(data) > MAX_METADATA for _, data in given):
        raise InputError("metadata of more than 16 MiB")
    return [Section(kind, data) for kind, data in given if data]


def _alpha_section(opacity: Pixels, levels: tuple[int, ...]) -> Section:
    if opacity.dtype == np.uint8:
        return Section(container.ALPHA, alpha.encode_alpha(opacity.view(np.uint8), levels))
    return Section(container.DEEP_ALPHA, alpha.encode_deep_alpha(opacity.view(np.uint16), levels))
