"""What Python users import: encode, decode, info, verify."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import codec, container, networks, rate, registry
from vqcodec.bands import LAYOUTS
from vqcodec.errors import InputError, MissingExtraError, ModelError
from vqcodec.model import Model
from vqcodec.types import Header

ModelName = str | Path | Model | None
REFINES: Final = ("none", "best")
DEVICES: Final = ("cpu", "cuda", "auto")


def _model(model: ModelName) -> Model:
    return model if isinstance(model, Model) else registry.find(model)


def _model_of_file(model: ModelName, header: Header) -> Model:
    found = registry.find_by_id(header.model_id) if model is None else _model(model)
    codec.check_model(header, found)
    return found


def _threads(threads: int | None) -> int:
    return max(1, threads or os.cpu_count() or 1)


def encode(
    pixels: NDArray[np.uint8],
    *,
    quality: float | None = None,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    model: ModelName = None,
    effort: int = 5,
    threads: int | None = None,
) -> bytes:
    """Pixels uint8 [H, W] or [H, W, 1] (grey) or [H, W, 3] (RGB) to the bytes of a .vqz file.

    At most one of `quality` (0..100, default 60), `bpp` (bits per pixel) or `size` (bytes), of which the largest file
    not above it is made, and `psnr` (dB of the decode, the smallest file not below it). `effort` 1..9: below 4 is faster and
    a little larger; from 7 on, with a model that has a synthesis, slower and a little smaller. Raises InputError, ModelError.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise InputError("pixels must be a uint8 array")
    picture = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if picture.ndim != 3 or picture.shape[2] not in (1, 3) or picture.size == 0:
        raise InputError(f"pixels must be [H, W] or [H, W, 3], not {list(pixels.shape)}")
    if max(picture.shape[:2]) > container.MAX_SIDE:
        raise InputError(f"pictures have at most {container.MAX_SIDE} pixels a side")
    given = [value for value in (quality, bpp, size, psnr) if value is not None]
    if len(given) > 1:
        raise InputError("give one of quality, bpp, size and psnr")
    if quality is not None and not 0 <= quality <= 100:
        raise InputError("quality is 0 to 100")
    encoder = rate.Encoder(picture, _model(model), _threads(threads), effort)
    if bpp is not None:
        size = int(bpp * picture.shape[0] * picture.shape[1] / 8)
    if size is not None:
        return rate.file_of_size(encoder, size)
    if psnr is not None:
        return rate.file_of_psnr(encoder, psnr)
    return encoder.file(rate.step_of_quality(rate.DEFAULT_QUALITY if quality is None else quality))


def decode(
    data: bytes,
    *,
    model: ModelName = None,
    refine: str | None = None,
    device: str = "cpu",
    max_pixels: int = container.DEFAULT_MAX_PIXELS,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """The bytes of a .vqz file to pixels uint8 [H, W] or [H, W, 3].

    `refine`: "none" is the plain decode, the same on every machine; "best" goes through the model's synthesis network, is
    closer to the original, and the same within 1 of 255; None is the best that the model has. `device` is where the network
    runs: "cpu" needs numpy alone, "cuda" torch and a GPU, "auto" takes what there is. Raises FormatError and its kinds,
    ModelError, LimitError, InputError, MissingExtraError.
    """
    if refine not in (None, *REFINES):
        raise InputError(f"refine is one of {', '.join(REFINES)}")
    if device not in DEVICES:
        raise InputError(f"device is one of {', '.join(DEVICES)}")
    header, _, _ = container.read_header(data, max_pixels)
    found = _model_of_file(model, header)
    if refine is None:
        refine = "none" if found.synthesis is None else "best"
    if refine == "none":
        return codec.decode(data, found, max_pixels, _threads(threads))
    return codec.decode_refined(data, found, max_pixels, _threads(threads), _network_runner(device, found))


def _network_runner(device: str, model: Model) -> networks.Correct | None:
    """What runs the model's synthesis on a device; None is numpy, here. torch takes seconds to import: only where asked for."""
    if device == "cpu" or model.synthesis is None:
        return None
    try:
        from vqcodec.neural import inference
    except ImportError as error:
        if device == "auto":
            return None
        raise MissingExtraError("decoding on a GPU needs torch: pip install 'vqcodec[neural]'") from error
    if device == "auto" and not inference.has_gpu():
        return None
    return inference.correct_on("cuda", model)


def indices(data: bytes, *, model: ModelName = None) -> dict[str, NDArray[np.uint32]]:
    """Every codebook index of a file, for those who study them: columns uint32 [n] in decoding order.

    `index` (0 is the likeliest word of its codebook), `codebook`, `class` (of scale, 0 the quietest), `channel` (of the first
    coefficient it stands for), `row` and `column` of its 8x8 cell. The values after an escape are not listed. Raises as `decode`.
    """
    header, sections = container.read_file(data)
    found = _model_of_file(model, header)
    stored = [section.data for section in sections if section.type == container.INDICES]
    groups = header.groups
    tables = []
    for number, (top, left, h, w) in enumerate(groups):
        table = codec.indices_of_group(header, stored[number :: len(groups)], (h, w), found)
        cell = table.pop("cell")
        tables.append(table | {"row": top + cell // np.uint32(w), "column": left + cell % np.uint32(w)})
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def verify(data: bytes, *, model: ModelName = None) -> None:
    """Raise a VqcodecError unless every checksum holds and the file decodes completely."""
    decode(data, model=model, refine="none")


def info(data: bytes, *, model: ModelName = None) -> dict[str, Any]:
    """What a file holds, as a JSON-able dict; streams and shares are missing where its model is not installed."""
    header, table, _ = container.read_header(data)
    _, sections = container.read_file(data)
    layout = LAYOUTS[header.layout]
    result: dict[str, Any] = {
        "width": header.width,
        "height": header.height,
        "channels": layout.components,
        "layout": layout.name,
        "version": ".".join(map(str, container.VERSION)),
        "model": None,
        "model_id": header.model_id.hex(),
        "step": header.step / 64,
        "layers": header.layers,
        "groups": len(header.groups),
        "merge_map": header.merge_map,
        "bytes": len(data),
        "bpp": 8 * len(data) / (header.width * header.height),
        "sections": [{"type": kind, "bytes": length, "checksum": f"{checksum:08x}"} for kind, length, checksum in table],
    }
    try:
        found = _model_of_file(model, header)
    except ModelError:
        if model is not None:
            raise
        return result
    result["model"] = found.name
    indices = [section.data for section in sections if section.type == container.INDICES]
    result |= codec.describe(header, indices, found)
    return result
