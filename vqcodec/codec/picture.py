"""A picture as the codecs of all kinds of models encode it: its colours, its alpha plane, and the sections beside its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Pixels
from vqcodec.codec import channels, hidden
from vqcodec.codec.choices import effort_of
from vqcodec.format.header import Metadata, Section
from vqcodec.options import EncodeOptions

_STRIP: Final = 64
"""Rows of pixels that are compared at a time."""
_LEAST_PIXELS: Final = 1 << 14
"""Size from which chroma without content takes more bytes than a table of sections, which says that there is none."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture to encode."""

    colours: Pixels
    """Samples [H, W, 1 or 3]; smooth where they are hidden."""
    opacity: Pixels | None
    """The alpha plane [H, W], if there is one."""
    visible: Bool | None
    """Pixels that count, bool [H, W]; None: all."""
    depth: int
    """Bits of a sample."""
    metadata: list[Section]
    unchanged: bool
    """Whether `samples` are those that were given: no hidden colour was replaced, or all were 0."""

    equal_components: bool = False
    """Whether the colours are one of the three equal components of a picture in colour."""

    def in_grey(self) -> Picture:
        """One of the components, if there are three and they are equal in a picture that is not small, else the picture itself."""
        first, others = self.colours[:, :, :1], self.colours[:, :, 1:]
        if others.shape[2] != 2 or first.size < _LEAST_PIXELS:
            return self
        strips = (slice(top, top + _STRIP) for top in range(0, len(first), _STRIP))
        equal = all((others[strip] == first[strip]).all() for strip in strips)  # the first strip of most pictures is in colour
        return replace(self, colours=np.ascontiguousarray(first), equal_components=True) if equal else self

    @cached_property
    def flat(self) -> Pixels:
        """Samples [H, W, 1 or 3] that are 0 where they are hidden: as part of a graphic that takes the fewest bytes."""
        return self.colours if self.visible is None else self.colours * self.visible[:, :, None]

    @cached_property
    def samples(self) -> Pixels:
        """All channels [H, W, 1 to 4]; hidden colours are 0."""
        return channels.with_opacity(self.flat, self.opacity)

    def with_samples(self, samples: Pixels) -> Picture:
        """A copy that shows other samples [H, W, 1 to 4]."""
        colours, opacity = channels.split(samples)
        return replace(self, colours=colours, opacity=opacity, unchanged=False)

    def sections(self, effort: int) -> list[Section]:
        """Sections of the alpha plane and of the metadata."""
        return channels.alpha_sections(self.opacity, effort_of(effort).plane_levels) + self.metadata


def picture_of(pixels: Pixels, options: EncodeOptions, metadata: Metadata) -> Picture:
    """The picture of samples [H, W] or [H, W, 1 to 4], uint8 or uint16. Raises InputError."""
    colours, opacity = channels.split(pixels)  # [H, W, 1 or 3]; [H, W] or None
    visible = None if opacity is None or options.exact or options.lossless else opacity > 0  # bool [H, W] or None
    shown = colours if visible is None else hidden.fill_hidden(colours, visible)
    depth = channels.depth_of(shown) if opacity is None else channels.depth_of(shown, opacity)
    unchanged = visible is None or not colours[~visible].any()
    return Picture(shown, opacity, visible, depth, channels.metadata_sections(metadata), unchanged)
