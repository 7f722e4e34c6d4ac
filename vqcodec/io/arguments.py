"""Arguments of the API: each is returned in the form that the codec uses, or an InputError names the argument, its value and its
type."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Pixels
from vqcodec.checks import MAX_PIXELS, described, whole
from vqcodec.errors import InputError, printable
from vqcodec.format.header import Metadata
from vqcodec.io.files import naming, open_input, read_stream, seekable, stream_limit

T = TypeVar("T", int, str)


class _HasArray(Protocol):
    def __array__(self) -> NDArray[Any]: ...


class _HasArrayInterface(Protocol):
    @property
    def __array_interface__(self) -> dict[str, Any]: ...


class _HasDLPack(Protocol):
    def __dlpack__(self) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


Picture = NDArray[Any] | _HasArray | _HasArrayInterface | _HasDLPack | str | os.PathLike[str] | IO[bytes]
"""An array or a CPU tensor of any library, a PIL image, or a picture file as a path or an open binary file."""
Source = bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes]
"""A .vqz file as bytes, a path or an open binary file."""
_LONGEST_PATH: Final = 4096
_ARRAY_PROTOCOLS: Final = ("__array__", "__array_interface__", "__dlpack__")


# ------------------------------------------------------------------------------------------------ numbers and names


def name_or_folder(name: str, value: object) -> str | Path:
    """A model's name or the path of its folder. Raises InputError."""
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name} is the name of a model or the path of its folder, not {described(value)}")
    path = _path(value)
    return value if isinstance(value, str) else path


def metadata(value: object) -> Metadata:
    """Metadata whose fields are bytes. Raises InputError."""
    if not isinstance(value, Metadata):
        raise InputError(f"metadata is a vqcodec.Metadata, not {described(value)}: Metadata(icc=..., exif=..., xmp=...) makes one")
    for name in ("icc", "exif", "xmp"):
        data = getattr(value, name)
        if not isinstance(data, bytes):
            raise InputError(f"{name} of the metadata is bytes, not {described(data)}")
    return value


# ------------------------------------------------------------------------------------------------ files


@contextmanager
def open_source(source: object, max_pixels: int) -> Iterator[BinaryIO]:
    """A seekable stream of a .vqz file. A file opened for a path is closed after the block, a given stream is not.

    Raises InputError, LimitError.
    """
    if isinstance(source, str | os.PathLike):
        path = _path(source)
        with naming(path), open_input(path) as stream:
            yield seekable(stream, max_pixels)
    elif _is_stream(source):
        yield seekable(_readable(source), max_pixels)
    else:
        yield io.BytesIO(_bytes_of(source))


def naming_source(source: object) -> AbstractContextManager[None]:
    """Make VqcodecErrors in the block name the file, if the source is a path."""
    return naming(_path(source)) if isinstance(source, str | os.PathLike) else nullcontext()


def file_bytes(source: object, max_pixels: int) -> bytes:
    """All bytes of a .vqz file. Raises InputError, LimitError."""
    limit = whole("max_pixels", max_pixels, 1)
    with open_source(source, limit) as stream:
        stream.seek(0)
        return read_stream(stream, stream_limit(limit))


def _path(value: str | os.PathLike[Any]) -> Path:
    """A path that the system can open. Raises InputError."""
    path = os.fsdecode(value)
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        encoded = b""
    if not 0 < len(encoded) <= _LONGEST_PATH or b"\0" in encoded:
        raise InputError(f"text of {len(path)} characters is not a path: {described(path)}")
    return Path(path)


def _is_stream(value: object) -> bool:
    return hasattr(value, "read") and hasattr(value, "seek")


def _readable(value: object) -> BinaryIO:
    """The value as a readable binary stream. Raises InputError."""
    stream, kind = cast(BinaryIO, value), type(value).__name__
    try:
        nothing = stream.read(0)
    except (OSError, ValueError) as error:
        raise InputError(f"a stream ({kind}) cannot be read: it is closed, or open only for writing") from error
    if not isinstance(nothing, bytes):
        raise InputError(f"a stream ({kind}) is of text: open its file in binary mode, open(path, 'rb')")
    return stream


def _bytes_of(value: object) -> bytes:
    """The bytes of an object that is a flat buffer of bytes. Raises InputError."""
    what = described(value)
    if hasattr(value, "__array__"):
        array = _array_of("the bytes", value)
        what = f"{array.dtype.name} {list(array.shape)} ({type(value).__name__})"
        value = array
    try:
        view = memoryview(cast(bytes, value))
    except (TypeError, ValueError, BufferError):
        view = None
    if view is None or view.ndim != 1 or view.itemsize != 1:
        hint = "; encode makes one from a picture" if hasattr(value, "__array__") or hasattr(value, "__array_interface__") else ""
        raise InputError(f"a .vqz file is given as its bytes, its path or an open binary file, not as {what}{hint}")
    return bytes(view)


# ------------------------------------------------------------------------------------------------ pictures


def picture(name: str, value: object) -> tuple[Pixels, Metadata]:
    """Samples, uint8 or uint16 [H, W] or [H, W, 1 to 4], of at least one pixel, and the metadata of a file or an image.

    Raises InputError, LimitError. Warns of file content that is not kept.
    """
    if isinstance(value, str | os.PathLike):
        from vqcodec.io.image_reader import read_image  # imports Pillow, which arrays do not need

        data = read_image(_path(value))
    elif _is_stream(value):
        from vqcodec.io.image_reader import read_image

        data = read_image(seekable(_readable(value), MAX_PIXELS), name=_stream_name(value))
    elif _is_of(value, "PIL.Image", "Image"):
        from vqcodec.io.metadata import metadata_of_image
        from vqcodec.io.samples import samples_of_image

        image = cast(Any, value)
        _warn_of_cut(image)
        return samples_of_image(image), metadata_of_image(image)
    else:
        return samples(name, value), Metadata()
    for note in data.notes:
        warnings.warn(f"picture file: {note}", stacklevel=4)
    return data.pixels, data.metadata


def _warn_of_cut(image: Any) -> None:
    """Warn if Pillow is to cut the samples of an image, which is seen only as long as it is not loaded."""
    if not getattr(image, "tile", ()):
        return
    from vqcodec.io import deep_reader

    if deep_reader.is_cut(image):
        warnings.warn("PIL image: Pillow keeps 8 of its 16 bits per sample: pass the file itself to keep all", stacklevel=5)


def _is_of(value: object, module: str, kind: str) -> bool:
    """Whether a value is an instance of a class of a module, without importing it: if it is one, the module has been imported."""
    found = getattr(sys.modules.get(module), kind, None)
    return found is not None and isinstance(value, found)


def _stream_name(value: object) -> str:
    name = getattr(value, "name", None)
    return printable(name) if isinstance(name, str) else "the picture"


def samples(name: str, value: object) -> Pixels:
    """An array or a tensor as uint8 or uint16 [H, W] or [H, W, 1 to 4].

    False and True become 0 and 255. Integers of any type are accepted within 0 to 255. Raises InputError.
    """
    kind = type(value).__name__
    if isinstance(value, bytes | bytearray | memoryview):
        ways = f"pass a file as io.BytesIO({name}), samples as np.frombuffer({name}, np.uint8).reshape(height, width, channels)"
        raise InputError(f"{name} are {kind}, which may be a picture file or samples: {ways}")
    if isinstance(value, list | tuple):
        raise InputError(f"{name} are a {kind}: np.array({name}) makes an array of one picture's samples")
    if _is_of(value, "numpy.ma", "MaskedArray"):
        raise InputError(f"{name} are a {kind}: {name}.filled(0) is an array without a mask")
    if not any(hasattr(value, protocol) for protocol in _ARRAY_PROTOCOLS):
        raise InputError(f"{name} are an array [H, W] or [H, W, 1 to 4], a PIL image or a picture file, not {described(value)}")
    array, tensor = _array_of(name, value), _is_of(value, "torch", "Tensor")
    what = f"{array.dtype.name} {list(array.shape)} ({kind})"
    shape = array.shape
    if not array.size or array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 2, 3, 4)):
        hint = ""
        if array.ndim == 3 and shape[0] in (1, 2, 3, 4):
            hint = f": {name}.{'permute' if tensor else 'transpose'}(1, 2, 0) moves the channels to the end"
        elif array.ndim == 4:
            hint = f": {name}[0] is the first of several pictures; pass them one by one"
        raise InputError(f"{name} are [H, W] or [H, W, 1 to 4], not {what}{hint}")
    return _narrowed(name, array, what, ".byte()" if tensor else '.astype("uint8")')


def _narrowed(name: str, array: NDArray[Any], what: str, to_8_bits: str) -> Pixels:
    """At least one sample of any dtype, as uint8 or uint16. Raises InputError with the description `what`."""
    kind = array.dtype.kind
    if kind == "u" and array.itemsize <= 2:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if kind not in "iuf":
        raise InputError(f"{name} are uint8, or uint16 for more than 8 bits, not {what}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} are {what} with NaN or infinity: np.nan_to_num({name}) replaces them")
    least, most = array.min(), array.max()
    if kind != "f" and least >= 0 and most <= 255:
        return array.astype(np.uint8)
    if kind != "f":
        deep = least >= 0 and most <= 65535
        way = (f'{name}.astype("uint16") keeps 16 bits, ' if deep else "") + f"{name}.clip(0, 255)"
    elif least >= -1 and most <= 1:
        way = f"({name} * 255).round()" if least >= 0 else f"(({name} + 1) * 127.5).round()"
    else:
        way = f"{name}.round().clip(0, 255)"
    raise InputError(f"{name} are {what} from {least:g} to {most:g}, and must be uint8: {way}{to_8_bits}")


def mask(value: object) -> Bool:
    """A mask as an array, bool [H, W]. Raises InputError."""
    wanted = "a mask is a bool array [H, W], true for pixels to repair"
    if not any(hasattr(value, protocol) for protocol in _ARRAY_PROTOCOLS):
        raise InputError(f"{wanted}, not {described(value)}")
    found = _array_of("mask", value)
    if found.dtype != np.bool_:
        raise InputError(f"{wanted}, not {found.dtype.name} {list(found.shape)} ({type(value).__name__}): mask > 0 is one")
    return found


def _array_of(name: str, value: object) -> NDArray[Any]:
    try:
        if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
            return np.asarray(value)
        return np.from_dlpack(cast(Any, value))
    except Exception as error:  # any: torch raises a TypeError that suggests .cpu(), cupy one that suggests .get()
        raise InputError(f"{name} of type {type(value).__name__} cannot be read: {printable(str(error))}") from error
