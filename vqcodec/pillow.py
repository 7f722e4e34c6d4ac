"""The Pillow plugin: after `import vqcodec.pillow`, Image.open and Image.save treat .vqz like a built-in format."""

from __future__ import annotations

from dataclasses import fields
from typing import IO, Any, BinaryIO, Final, cast

from PIL import Image, ImageFile

from vqcodec import api
from vqcodec.arrays import Pixels
from vqcodec.errors import InputError, ModelError, VqcodecError, printable
from vqcodec.format import container
from vqcodec.io import exif
from vqcodec.io.metadata import metadata_of_image
from vqcodec.io.samples import samples_of_image
from vqcodec.options import SCALES, EncodeOptions, Scale

_FORMAT: Final = "VQZ"
_OPTIONS: Final = ("model", *(field.name for field in fields(EncodeOptions)))
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class VqzImageFile(ImageFile.ImageFile):
    """A .vqz image. `_open` reads only the header; `load` decodes the pixels, at a smaller size if `draft` chose one.

    Opening raises OSError for colour and transparency of more than 8 bits, which Pillow does not hold.
    """

    format = _FORMAT
    format_description = "vqcodec"
    _vqz: api.VqzFile | None = None
    """The open file; None once the pixels are loaded, as in copies and unpickled images."""
    _scale: Scale = 1

    def _open(self) -> None:
        assert self.fp is not None
        any_size = container.MAX_SIDE**2  # Image.open applies its own limit, as for all formats
        try:
            self._vqz = api.VqzFile(cast(BinaryIO, self.fp), model=None, max_pixels=any_size, allow_partial=False)
            metadata = self._vqz.metadata
        except ModelError as error:  # the file is one of ours, and its profile needs a model
            raise OSError(str(error)) from error
        except VqcodecError as error:
            raise SyntaxError(str(error)) from error  # Pillow then reports that it cannot identify the file
        self._size = self._vqz.size
        deep, channels = self._vqz.header.depth > 8, self._vqz.channels
        if deep and channels > 1:  # not a SyntaxError, for which Pillow says no more than that it cannot identify the file
            raise OSError(f"Pillow has no mode for {_MODES[channels]} of more than 8 bits: vqcodec.decode(path) returns uint16")
        self._mode = "I;16" if deep else _MODES[channels]
        for name, value in (("icc_profile", metadata.icc), ("exif", metadata.exif), ("xmp", metadata.xmp)):
            if value:
                self.info[name] = exif.PREFIX + value if name == "exif" else value
        if resolution := exif.resolution(metadata.exif):
            self.info["dpi"] = resolution

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Choose to decode at 1/2, 1/4 or 1/8 of the size, if that is no smaller than `size`. Thumbnails use it, as with JPEG."""
        if size is None or self._scale > 1 or self._vqz is None:  # loaded pixels keep their size
            return None
        width, height = self.size
        scale: Scale = max((s for s in SCALES if width // s >= size[0] and height // s >= size[1]), default=1)
        if scale > 1:
            self._scale = scale
            self._size = -(-width // scale), -(-height // scale)
        return self.mode, (0, 0, width / scale, height / scale)

    def load(self) -> Any:
        """Decode the pixels. Raises OSError for a damaged file, ValueError after `close` or `verify`."""
        if self._vqz is not None:
            if self.fp is None:
                raise ValueError("Operation on closed image")
            try:
                pixels = self._vqz.read(scale=self._scale)
            except VqcodecError as error:
                raise OSError(str(error)) from error
            self.im = Image.fromarray(pixels).copy().im  # a copy that can be written to
            self.readonly = 0
            self._vqz = None
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
            self.fp = None
        return Image.Image.load(self)

    def verify(self) -> None:
        """Raise OSError if a checksum does not match. The image cannot be used afterwards, as with all formats."""
        try:
            if self._vqz is not None:
                self._vqz.file.check()
        except VqcodecError as error:
            raise OSError(str(error)) from error
        finally:
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Write an image. Options are those of `api.encode`, such as lossless=True, and Pillow's exif, icc_profile, xmp and dpi.

    Other options are ignored, as by Pillow's own formats. Raises ValueError for options that a .vqz file cannot satisfy and for
    values out of range, OSError for modes that it cannot hold.
    """
    options = dict(image.encoderinfo)
    if options.get("append"):
        raise ValueError("VQZ holds one image: append=True cannot add another; use TIFF, or one file for each image")
    given = {name: options[name] for name in _OPTIONS if name in options}
    said = {name: options[name] for name in ("icc_profile", "exif", "xmp", "dpi") if name in options}
    metadata = metadata_of_image(image, said)
    try:
        fp.write(api.encode(_samples_of(image), metadata=metadata, **given))
    except VqcodecError as error:
        raise ValueError(printable(str(error))) from error


def _save_all(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Write an image saved with `save_all=True`. Raises ValueError if there are several frames."""
    frames = [image, *(image.encoderinfo.get("append_images") or ())]
    count = sum(getattr(frame, "n_frames", 1) for frame in frames)
    if count > 1:
        raise ValueError(f"VQZ holds one image, not {count} frames: save each in its own file, without append_images")
    _save(image, fp, filename)


def _samples_of(image: Image.Image) -> Pixels:
    try:
        return samples_of_image(image)
    except InputError as error:
        raise OSError(f"cannot write mode {image.mode} as VQZ: {error}") from error


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(container.MAGIC)


Image.register_open(_FORMAT, VqzImageFile, _accept)
Image.register_save(_FORMAT, _save)
Image.register_save_all(_FORMAT, _save_all)
Image.register_extension(_FORMAT, ".vqz")
Image.register_mime(_FORMAT, "image/vnd.vqcodec.vqz")
