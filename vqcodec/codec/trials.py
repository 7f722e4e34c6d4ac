"""Trials of the encoder: a picture coded with DCT blocks in all cells, in some, or in none. The file of least cost is kept.
Files without layers are sketched, at effort 1, to tell which of them are worth coding in full.

The cost is bits plus error over lambda for a quality, bytes for a PSNR or an SSIMULACRA2, and error for a size. Graphics lose
colours (see colour_reduction.py) unless they cost more then. What only graphics need is imported in functions: it takes time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Float32, Pixels
from vqcodec.codec import content, ssimulacra2
from vqcodec.codec.channels import with_opacity
from vqcodec.codec.choices import lambda_of
from vqcodec.codec.picture import Picture
from vqcodec.codec.rate_control import size_of, step_of_quality
from vqcodec.errors import LimitError
from vqcodec.options import DEFAULT_QUALITY, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.kinds import PixelModel

_MAPS: Final = (*[(32,)] * 6, (20, 32), (12, 32, 48), (12, 20, 32, 48))
"""Most colours of graphic cells in the maps that are tried, by effort 1 to 9."""
_CHEAP_BPP: Final = 0.58
"""Bits per pixel of an exact file up to which blocks are not tried below `_THOROUGH`: photographs take more."""
_THOROUGH: Final = 7
"""Effort from which everything is coded in full."""
_FILE_OF_SKETCH: Final = 0.9
_LEAST_OF_SKETCH: Final = 0.6
"""Bytes of a file without layers over those of its sketch: about, and at least. They were 0.64 to 1 on screens."""
_MATCHED: Final = 2.0
"""An index counts as this number times its entropy, times the exact file's ratio of bytes to entropy: matches of zstd are dear to
break, and an error is seen."""
_LEAST_SHARE: Final = 0.45
_MIXED_SHARE: Final = 0.5
"""Shares of its entropy that an index counts: at least, and in pictures of several kinds of cells."""
_PACKED: Final = 0.6
"""Share of its entropy that an index takes in scans of text, which have few repeats, about."""
_IN_CONTEXTS: Final = 0.3
"""Least share of its entropy that an index takes there in contexts."""
_LIKELY: Final = 0.9
"""Expected cost of a file without layers over that of blocks up to which it is made: it was 0.4 to 0.7 in scans of text, and above
0.9 in photographs."""
_OF_DEFLATED: Final = 0.4
"""Least bytes of a small exact file over those that PNG's predictions and zlib take; 0.49 of PNG's own was the least seen."""
_SIZE_STEPS: Final = (8.0, 14.0, 24.0, 42.0, 72.0, 128.0)
"""Quantiser steps in grey levels of the colours that are tried for a size."""
_LIKENESS_ROUNDS: Final = 6
_STEPS_LEVELS: Final = (2.0, 512.0)
"""Finest and coarsest step in grey levels of the colours that are tried for an SSIMULACRA2."""


@dataclass(frozen=True, eq=False)
class _Coded:
    """A file, and a function that measures the squared error of what it decodes to."""

    data: bytes
    measure: Callable[[], float]

    @cached_property
    def error(self) -> float:
        """The sum of squared errors in squared grey levels; decodes the file when it is first asked for."""
        return self.measure()


@dataclass(frozen=True, eq=False)
class Trials:
    """The trials of a picture."""

    picture: Picture
    options: EncodeOptions
    model: ExactModel
    graphic: PixelModel
    """The model of files without layers."""
    with_layers: Callable[[Picture, Bool | None], bytes]
    """Codes a picture whose graphic cells are bool [h, w], None: none. Raises LimitError."""
    decode: Callable[[bytes], Pixels]
    """Gives the samples [H, W, 1 or 3] of a file with layers."""

    def best(self) -> bytes:
        """The file of least cost.

        Raises LimitError if none meets the options' target; InputError, LimitError and MissingExtraError if it is an SSIMULACRA2
        that cannot be measured.
        """
        if self.options.ssimulacra2 is not None:
            ssimulacra2.check(self.picture)
        graphic = content.may_hold_graphics(self.picture.samples, self.picture.depth)
        return self._of_graphics() if graphic else self._of_photograph()

    def _of_photograph(self) -> bytes:
        """The file with blocks in all cells, unless few colours seem to take as little, as those of black letters do."""
        try:
            layered = self._layered(None)
        except LimitError:
            if not self._has_likeness:
                raise
            return self._exact().data  # it has any PSNR and any SSIMULACRA2
        if self._has_target:
            return layered.data
        smooth = self._area <= content.SMALL and _OF_DEFLATED * content.deflated_bytes(self.picture.samples) <= len(layered.data)
        if smooth and len((exact := self._exact()).data) <= len(layered.data):  # a small drawing
            return exact.data
        bits = self._area * content.entropy_of_colours(self.picture.samples, self._step_levels, self.picture.depth)
        if _IN_CONTEXTS * bits > 8 * len(layered.data):
            return layered.data
        fewer = self._with_fewer_colours(self._step_levels, 1.0)
        if _PACKED * bits > 8 * len(layered.data):
            fewer = [other for other in fewer if self._expected_cost(other) < _LIKELY * self._cost(layered)]
        return self._cheapest([layered, *map(self._graphic, fewer)]).data

    def _of_graphics(self) -> bytes:
        """The best of files without layers, and of those with blocks in all or in some cells."""
        thorough = self.options.effort >= _THOROUGH or self._area <= content.SMALL
        sized = size_of(self.picture.colours, self.options) is not None
        return (self._of_full_files() if thorough or sized else self._of_sketches()).data

    def _of_full_files(self) -> _Coded:
        """The file of least cost, all of them coded in full. All are one stage of progress."""
        maps = [None, *self._maps()]
        most = size_of(self.picture.colours, self.options)
        with progress.stage("", 2 + len(maps)):
            exact = self._exact()
            progress.advance()
            found = [exact, *self._reduced(self._share_of_entropy(len(exact.data)))]
            progress.advance()
            found = [coded for coded in found if most is None or len(coded.data) <= most]
            if found and self.options.effort < _THOROUGH and self._is_cheap(len(exact.data)):
                return self._cheapest(found)
            return self._cheapest([*found, *self._each_layered(maps, needed=not found)])

    def _of_sketches(self) -> _Coded:
        """The file of least cost, for a target other than a size. All are one stage of progress.

        Files without layers are sketched first. The better one is coded in full, unless files with layers cost clearly less.
        """
        maps = [None, *self._maps()]
        with progress.stage("", 2 + len(maps)):
            sketch = self._sketch(self.picture)
            size = round(_FILE_OF_SKETCH * len(sketch.data))
            fewer = self._pictures_of_fewer_colours(self._share_of_entropy(size))
            best, picture = sketch, self.picture
            for other in fewer:
                best, picture = min((best, picture), (self._sketch(other), other), key=lambda pair: self._cost(pair[0]))
            progress.advance()
            layered = [] if self._is_cheap(size) else self._each_layered(maps, needed=False)
            if layered:
                cheapest = self._cheapest(layered)
                spared = (1 - _LEAST_OF_SKETCH) * len(best.data)
                if self._cost(cheapest) < self._cost(best) - spared * (1 if self._has_likeness else 8):
                    return cheapest
            full = self._exact() if picture is self.picture else self._graphic(picture)
            progress.advance()
            return self._cheapest([full, *layered])

    def _each_layered(self, maps: list[Bool | None], *, needed: bool) -> list[_Coded]:
        """The files with layers that meet the target, for maps of graphic cells. Raises LimitError if one is `needed`."""
        found: list[_Coded] = []
        refusal = None
        for cells in maps:
            try:
                found.append(self._layered(cells))
            except LimitError as error:
                refusal = refusal or error
            progress.advance()
        if needed and not found:
            raise refusal or LimitError("no file meets the target")
        return found

    def _share_of_entropy(self, exact_bytes: int) -> float:
        """The share of its entropy that an index takes, by the bytes of the exact file."""
        entropy = content.entropy_of_colours(self.picture.samples, 1.0, self.picture.depth)
        matched = 8 * exact_bytes / max(1.0, entropy * self._area)
        return min(1.0, max(_LEAST_SHARE, _MATCHED * matched))

    def _is_cheap(self, exact_bytes: int) -> bool:
        """Whether blocks are not worth a trial, by the bytes of the exact file."""
        return 8 * exact_bytes <= _CHEAP_BPP * self._area

    # -------------------------------------------------------------------------------------------- files

    def _exact(self) -> _Coded:
        """The file without layers of the picture itself."""
        from vqcodec.codec.pixel_codec import PixelCodec

        return _Coded(PixelCodec(self.graphic).encode_exact(self.picture, self.options), lambda: 0.0)

    def _graphic(self, picture: Picture) -> _Coded:
        """The file without layers of a picture of few colours."""
        return self._graphic_at(picture, self.options.effort)

    def _sketch(self, picture: Picture) -> _Coded:
        """The file without layers of a picture, coded fast: larger than it could be."""
        return self._graphic_at(picture, 1)

    def _graphic_at(self, picture: Picture, effort: int) -> _Coded:
        from vqcodec.codec.pixel_codec import PixelCodec

        data = PixelCodec(self.graphic).encode_graphic(picture, replace(self.options, effort=effort))
        return _Coded(data, lambda: self._squared_error(picture.samples))

    def _layered(self, cells: Bool | None) -> _Coded:
        """The file with layers and these graphic cells, bool [h, w]."""
        picture = self.picture
        if cells is not None and not self._has_target:
            from vqcodec.transform.palette import pixels_of_cells

            chosen = pixels_of_cells(cells, *picture.colours.shape[:2])
            picture = replace(picture, colours=self._fewer(picture.colours, chosen, self._step_levels, _MIXED_SHARE, alpha=False))
        data = self.with_layers(picture, cells)
        return _Coded(data, lambda: self._squared_error(with_opacity(self.decode(data), self.picture.opacity)))

    def _reduced(self, share: float) -> list[_Coded]:
        """The file without layers that has fewer colours and meets the target, if there is one.

        `share`: of the entropy of an index, what it takes.
        """
        most = size_of(self.picture.colours, self.options)
        if most is None:
            return [self._graphic(other) for other in self._pictures_of_fewer_colours(share)]
        for step_levels in _SIZE_STEPS:
            for other in self._with_fewer_colours(step_levels, share):
                coded = self._graphic(other)
                if len(coded.data) <= most:
                    return [coded]
        return []

    def _pictures_of_fewer_colours(self, share: float) -> list[Picture]:
        """The picture with fewer colours for a target other than a size, if there is one."""
        return self._of_likeness(share) if self._has_likeness else self._with_fewer_colours(self._step_levels, share)

    def _of_likeness(self, share: float) -> list[Picture]:
        """The picture with the fewest colours that are found at a PSNR or an SSIMULACRA2: steps are bisected."""
        found: list[Picture] = []
        low, high = 0.0, 1.0
        for _ in range(_LIKENESS_ROUNDS):
            middle = (low + high) / 2
            others = self._with_fewer_colours(self._step_levels_at(middle), share)
            if others and not self._is_alike(others[0]):
                high = middle
            else:
                low, found = middle, others or found
        return found

    def _with_fewer_colours(self, step_levels: float, share: float) -> list[Picture]:
        """The picture with fewer colours, if they become fewer; not if colours count under alpha 0 too."""
        picture = self.picture
        if picture.opacity is not None and picture.visible is None:
            return []
        samples = self._fewer(picture.samples, None, step_levels, share, alpha=picture.opacity is not None)
        return [] if np.array_equal(samples, picture.samples) else [picture.with_samples(samples)]

    def _fewer(self, samples: Pixels, chosen: Bool | None, step_levels: float, share: float, *, alpha: bool) -> Pixels:
        from vqcodec.codec.colour_reduction import reduce_colours

        lambda_ = share * lambda_of(self.model)
        return reduce_colours(samples, chosen, step_levels=step_levels, lambda_=lambda_, depth=self.picture.depth, alpha=alpha)

    def _maps(self) -> list[Bool]:
        """Different maps of graphic cells, none of them uniform."""
        found: list[Bool] = []
        for most in _MAPS[self.options.effort - 1]:
            cells = content.graphic_map(self.picture.samples, self.picture.depth, most)
            if cells.any() and not cells.all() and not any(np.array_equal(cells, other) for other in found):
                found.append(cells)
        return found

    # -------------------------------------------------------------------------------------------- costs

    def _cheapest(self, found: list[_Coded]) -> _Coded:
        return min(found, key=self._cost) if len(found) > 1 else found[0]

    def _cost(self, coded: _Coded) -> float:
        if self._has_likeness:
            return len(coded.data)
        if size_of(self.picture.colours, self.options) is not None:
            return coded.error
        return self._cost_of(len(coded.data), coded.error)

    def _cost_of(self, size: float, error: float) -> float:
        """Bits plus error over lambda, for a file of `size` bytes."""
        return 8 * size + error / (lambda_of(self.model) * self._step_levels**2)

    def _expected_cost(self, picture: Picture) -> float:
        """The cost of the file without layers of a picture of few colours, about."""
        return self._cost_of(content.bytes_in_contexts(picture.samples), self._squared_error(picture.samples))

    def _squared_error(self, shown: Pixels) -> float:
        """The sum of squared errors of samples [H, W, 1 to 4] in squared grey levels (of 256). Alpha hides errors of colours."""
        from vqcodec.transform.palette import bands

        total = 0.0
        for band in bands(shown):
            error = self._as_seen(shown[band]) - self._as_seen(self.picture.samples[band])
            total += float(np.square(error).sum(dtype=np.float64))
        return total / 4.0 ** (self.picture.depth - 8)

    def _as_seen(self, samples: Pixels) -> Float32:
        """Samples float32 [h, W, C], colours times alpha."""
        found = samples.astype(np.float32)
        if self.picture.visible is not None:
            found[:, :, :-1] *= found[:, :, -1:] * np.float32(1 / ((1 << self.picture.depth) - 1))
        return found

    def _is_alike(self, other: Picture) -> bool:
        """Whether another picture has the PSNR or the SSIMULACRA2 that is asked for."""
        if self.options.ssimulacra2 is None:
            return self._psnr_db(other) >= (self.options.psnr or 0)
        shown = (ssimulacra2.as_seen(each.colours, each.opacity) for each in (self.picture, other))
        return ssimulacra2.score(*shown) >= self.options.ssimulacra2

    def _psnr_db(self, other: Picture) -> float:
        """PSNR of other samples over the visible pixels, as `Source.psnr_of`; at most that of an error of 1 in one sample."""
        error = np.square(np.subtract(other.colours, self.picture.colours, dtype=np.float64))
        if self.picture.visible is not None:
            error = error[self.picture.visible]
        return 10 * float(np.log10(((1 << self.picture.depth) - 1) ** 2 * max(1, error.size) / max(1.0, float(error.sum()))))

    @property
    def _area(self) -> int:
        """Pixels of the picture."""
        return self.picture.colours.shape[0] * self.picture.colours.shape[1]

    @property
    def _has_target(self) -> bool:
        """Whether a PSNR, an SSIMULACRA2 or a size is asked for, not a quality."""
        return self._has_likeness or size_of(self.picture.colours, self.options) is not None

    @property
    def _has_likeness(self) -> bool:
        """Whether a PSNR or an SSIMULACRA2 is asked for, which the file without layers of the picture itself has."""
        return self.options.psnr is not None or self.options.ssimulacra2 is not None

    def _step_levels_at(self, place: float) -> float:
        """A step in grey levels of those that may meet a PSNR or an SSIMULACRA2, at a place from 0, fine, to 1, coarse."""
        if self.options.psnr is not None:  # at 1 the error is as large as this PSNR allows, and more
            return place * 512 * 10 ** (-self.options.psnr / 20)
        return _STEPS_LEVELS[0] ** (1 - place) * _STEPS_LEVELS[1] ** place

    @property
    def _step_levels(self) -> float:
        """The quantiser step of the quality in grey levels (of 256)."""
        quality = DEFAULT_QUALITY if self.options.quality is None else self.options.quality
        return step_of_quality(quality, self.picture.depth) / 64
