"""Write golden files: crops of the samples, coded with the shipped models, with the SHA-256 of their exact pixels; of
photo's files the SHA-256 of their latents, too, and the picture that the synthesis makes of them, which other machines must meet
within 1 of 255; token files with the SHA-256 of their indices, and their pictures; and broken files made of the smallest, each
named after what is wrong with it.

Only for a new format version or a new shipped model: a golden file that was released decodes forever. What is there already is left
as it is; remove what is to be made anew.
"""

import hashlib
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from PIL import Image

from vqcodec import api
from vqcodec.codec import walk
from vqcodec.format import container, stream_records
from vqcodec.format.header import Section, StreamRecord
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel

HERE = Path(__file__).resolve().parent
CROPS = {
    "colour-q20": ("still_life", (300, 200, 429, 290), 20, "psnr"),
    "colour-q40": ("still_life", (300, 200, 429, 290), 40, "psnr"),
    "colour-q95": ("landscape", (200, 150, 261, 203), 95, "psnr"),
    "grey-q60": ("scan", (100, 100, 200, 173), 60, "psnr"),
    "masked-q30": ("still_life", (300, 200, 429, 290), 30, "ssim"),
    "pixel": ("still_life", (0, 0, 1, 1), 60, "psnr"),
}
LITE_CROPS: dict[str, tuple[str, tuple[int, int, int, int], str, dict[str, Any]]] = {
    "alpha-q40": ("still_life", (330, 230, 390, 271), "alpha", {"quality": 40}),
    "alpha-grey-tiles-q50": ("page", (40, 40, 140, 110), "grey and alpha", {"quality": 50, "tile": 64}),
    "grey10-q70": ("still_life", (300, 200, 380, 253), "10 bits", {"quality": 70}),
    "grey12-tiles-q50": ("landscape", (540, 140, 690, 310), "12 bits", {"quality": 50, "tile": 64}),
    "grey16-q90": ("landscape", (300, 330, 348, 362), "16 bits", {"quality": 90}),
    "masked-tiles-q40": ("still_life", (290, 200, 460, 350), "colour", {"quality": 40, "tile": 64, "tune": "ssim"}),
    "tiles-q50": ("page", (300, 200, 470, 350), "colour", {"quality": 50, "tile": 64}),
}
"""Of photo-lite alone."""
TOKEN_CROPS = {
    "grey": ("scan", (100, 100, 149, 140), "mnist-token"),
    "colour": ("still_life", (300, 200, 429, 290), "photo-preview"),
}
_FIELDS = {"magic": 8, "version": 1, "width": 0, "height": 0, "layout": 1, "flags": 1, "group": 1}
_FIELDS |= {"model": container.ID_BYTES, "step": 2, "map": 1, "grid": 1, "others": 0}
"""Bytes of the fields of a header in order; 0 for a varint."""
_TABLED = ("flags", "group", "others")
"""The fields that are there if there is a table."""

Fields = dict[str, bytes]


def take_apart(data: bytes) -> Fields:
    """A good file by fields in order, `table` and `body` (its sections) last; the header's checksum is left out."""
    _, _, cursor = container.read_header(data)
    fields: Fields = {}
    at = 0
    for name, length in _FIELDS.items():
        tokens = "layout" in fields and fields["layout"][0] & 3 == 3
        there = name not in ("step", "map") if tokens else name != "grid"
        if there and (name not in _TABLED or fields["layout"][0] & 0x40):
            end = at + (length or 1)
            while not length and data[end - 1] & 0x80:
                end += 1
            fields[name] = data[at:end]
            at = end
    return fields | {"table": data[at : cursor - 4], "body": data[cursor:]}


def put_together(fields: Fields) -> bytes:
    """The inverse of `take_apart`, whatever the fields hold, with a right checksum."""
    head = b"".join(value for name, value in fields.items() if name != "body")
    covered = head if "group" in fields else head + fields["body"]
    return head + zlib.crc32(covered).to_bytes(4, "little") + fields["body"]


def index_section(parts: Sequence[bytes | StreamRecord], model: ExactModel, merge_map: int, raw: bytes = b"") -> bytes:
    """An index section of all parts of a merge map's streams, bytes verbatim, the missing last ones empty."""
    means = [stream.means for stream in model.streams[merge_map]]
    found = [p if isinstance(p, StreamRecord) else StreamRecord(len(p), stream_records.VERBATIM, p) for p in parts]
    empty = [StreamRecord(0, stream_records.VERBATIM, b"")] * (sum(map(len, means)) - len(parts))
    return stream_records.write_streams(found + empty, means, raw)


def bomb(size: int, claimed: int) -> StreamRecord:
    """A record that claims a few bytes; its frame is small too but holds `size` zeros."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=17, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=0, write_checksum=0
    )
    frame = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(size))
    return StreamRecord(claimed, stream_records.FRAME, frame[2:])


def broken_files(data: bytes, model: ExactModel) -> dict[str, bytes]:
    """Files made of a good one without a table, by what is wrong with them."""
    header, sections = container.read_file(data)
    good = take_apart(data)
    tabled = take_apart(container.write_file(header, [*sections, Section(container.ICC, b"profile")]))
    beyond = [part for stream in model.streams[header.merge_map] for part in stream.form.pack(np.array([255], np.uint8))]
    fields = {
        "not-a-vqz": good | {"magic": b"\x89PNG\r\n\x1a\n"},
        "future-version": good | {"version": b"\x90"},
        "no-alpha-plane": tabled | {"flags": b"\x04"},
        "needs-step-map": tabled | {"flags": b"\x01"},
        "no-width": good | {"width": b"\x00"},
        "overlong-number": good | {"width": b"\x81\x00"},
        "too-many-pixels": good | {"width": b"\xff\xff\x03", "height": b"\xff\xff\x03"},
        "unknown-model": good | {"model": bytes(container.ID_BYTES)},
        "critical-section": tabled | {"table": tabled["table"][:-6] + b"\x02" + tabled["table"][-5:]},
        "section-cut-short": tabled | {"body": tabled["body"][:-1]},
        "bomb": good | {"body": index_section([bomb(1 << 24, claimed=100)], model, header.merge_map)},
        "index-not-in-codebook": good | {"body": index_section(beyond, model, header.merge_map)},
    }
    return {name: put_together(each) for name, each in fields.items()} | {"flipped-bit": data[:-1] + bytes((data[-1] ^ 1,))}


def pixels_of(picture: str, crop: tuple[int, int, int, int], kind: str) -> np.ndarray:
    """A crop of a sample as it is, with alpha, or as overexposed deep grey: white meets some seams."""
    with Image.open(HERE.parent / "samples" / f"{picture}.png") as image:
        pixels = np.asarray(image.crop(crop))
    if kind.endswith("bits"):
        depth = int(kind.split()[0])
        return np.minimum(pixels.astype(int) @ (100, 200, 40), 65535).astype(np.uint16) >> (16 - depth)
    if kind.endswith("alpha"):
        y, x = np.indices(pixels.shape[:2])
        transparency = np.clip(4 * np.minimum(x, y), 0, 255).astype(np.uint8)
        return np.dstack([pixels[:, :, 1] if kind.startswith("grey") else pixels, transparency])
    return pixels


def pixels_digest(data: bytes, threads: int = 1) -> str:
    """SHA-256 of the exact pixels of a file, row by row."""
    pixels = api.decode(data, refine="none", threads=threads)
    return hashlib.sha256(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()).hexdigest()


def write_decode(folder: Path, model: str) -> None:
    crops = {name: (picture, crop, "", {"quality": q, "tune": tune}) for name, (picture, crop, q, tune) in CROPS.items()}
    for name, (picture, crop, kind, options) in (crops | (LITE_CROPS if model == "photo-lite" else {})).items():
        if (folder / f"{name}.vqz").exists():
            continue
        data = api.encode(pixels_of(picture, crop, kind), model=model, **options)
        (folder / f"{name}.vqz").write_bytes(data)
        (folder / f"{name}.sha256").write_text(pixels_digest(data) + "\n")


def latents_digest(data: bytes, model: ExactModel) -> str:
    """SHA-256 of the latents of all tile groups, int16, channel by channel."""
    file = container.File(io.BytesIO(data))
    found = hashlib.sha256()
    for number, group in enumerate(file.header.groups):
        found.update(walk.decode_group(file.header, file.indices(number, file.header.layers), group[2:], model).tobytes())
    return found.hexdigest()


def write_neural(folder: Path) -> None:
    write_decode(folder, "photo")
    for path in folder.glob("*.vqz"):
        if path.with_suffix(".latents").exists():
            continue
        data = path.read_bytes()
        path.with_suffix(".latents").write_text(latents_digest(data, registry.find("photo")) + "\n")
        Image.fromarray(api.decode(data, refine="best", threads=1)).save(path.with_suffix(".png"))


def indices_digest(data: bytes) -> str:
    """SHA-256 of a token file's indices, uint32, row by row."""
    return hashlib.sha256(api.indices(data)["index"].astype("<u4").tobytes()).hexdigest()


def write_token(folder: Path) -> None:
    for name, (picture, crop, model) in TOKEN_CROPS.items():
        if (folder / f"{name}.vqz").exists():
            continue
        with Image.open(HERE.parent / "samples" / f"{picture}.png") as image:
            data = api.encode(np.asarray(image.crop(crop)), model=model)
        (folder / f"{name}.vqz").write_bytes(data)
        (folder / f"{name}.indices").write_text(indices_digest(data) + "\n")
        Image.fromarray(api.decode(data, threads=1)).save(folder / f"{name}.png")


def write_errors(folder: Path, good: bytes) -> None:
    for name, data in broken_files(good, registry.find("photo-lite")).items():
        (folder / f"{name}.vqz").write_bytes(data)


if __name__ == "__main__":
    for kind in ("decode", "neural", "token", "errors"):
        (HERE / "golden" / kind).mkdir(parents=True, exist_ok=True)
    write_decode(HERE / "golden" / "decode", "photo-lite")
    write_neural(HERE / "golden" / "neural")
    write_token(HERE / "golden" / "token")
    write_errors(HERE / "golden" / "errors", (HERE / "golden" / "decode" / "pixel.vqz").read_bytes())
