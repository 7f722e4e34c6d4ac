"""Colours signalled without ICC: read with an equivalent profile, or with a note."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.colorimetry import converted, linear, srgb, xyz_of_rgb
from vqcodec.errors import InputError
from vqcodec.io import icc
from vqcodec.io.image_reader import ImageData, read_image
from vqcodec.io.image_writer import write_image

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GAMMA_1 = (b"gAMA", struct.pack(">I", 100_000))
SRGB_CHUNK = (b"sRGB", b"\0")


def stored(pixels: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file with chunks after its header."""
    parts = [struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks]
    return data[:33] + b"".join(parts) + data[33:]


def chromaticities(points: Sequence[float]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in points))


def read(data: bytes) -> ImageData:
    return read_image(io.BytesIO(data))


def shown(data: ImageData) -> np.ndarray:
    """Pixels in sRGB, as a viewer shows them by the profile."""
    image = Image.fromarray(data.pixels)
    return converted(image, data.metadata.icc) if data.metadata.icc else np.asarray(image.convert("RGB")).astype(float)


def meant(pixels: np.ndarray, primaries: int | icc.Primaries = 1, transfer: int = 13) -> np.ndarray:
    points = icc.PRIMARIES[primaries] if isinstance(primaries, int) else primaries
    light = linear(transfer, np.dstack([pixels] * 3) / 255 if pixels.ndim == 2 else pixels / 255)
    return srgb(light @ (np.linalg.inv(xyz_of_rgb(icc.PRIMARIES[1])) @ xyz_of_rgb(points)).T)


# ------------------------------------------------------------------------------------------------ PNG


@pytest.mark.parametrize("pixels", [RAMP, COLOURS], ids=["grey", "colour"])
def test_png_of_linear_light(pixels: np.ndarray) -> None:
    found = read(with_chunks(stored(pixels), GAMMA_1))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.notes == ()
    assert found.metadata.icc[16:20] == (b"GRAY" if pixels.ndim == 2 else b"RGB ")
    assert np.abs(shown(found) - meant(pixels, transfer=8)).max() < 1.01


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_decoded_pictures_look_alike(format: str) -> None:
    """A picture of linear light: grey 60 is 133 in sRGB."""
    found = read(with_chunks(stored(np.full((64, 64), 60, np.uint8)), GAMMA_1))
    notes = write_image(found.pixels, stream := io.BytesIO(), format=format, metadata=found.metadata)
    assert notes == (() if format != "WEBP" else ("the grey ICC profile is converted to RGB, as the pixels are",))
    again = read(stream.getvalue())
    assert again.metadata.icc[16:20] == (b"RGB " if format == "WEBP" else b"GRAY")
    assert np.abs(shown(again) - 133).max() < 1.01


def test_png_of_sixteen_bits() -> None:
    deep = RAMP.astype(np.uint16) * 257
    found = read(with_chunks(stored(deep), GAMMA_1))
    assert found.metadata.icc[16:20] == b"GRAY"
    assert found.pixels.dtype == np.uint16


@pytest.mark.parametrize("gamma", [45455, 45454, 45500])
def test_png_whose_gamma_is_that_of_srgb(gamma: int) -> None:
    chunk = (b"gAMA", struct.pack(">I", gamma))
    assert read(with_chunks(stored(COLOURS), chunk)).metadata.icc == b""
    assert read(with_chunks(stored(COLOURS), chunk, chromaticities(icc.PRIMARIES[1]))).metadata.icc == b""
    assert read(with_chunks(stored(RAMP), chunk, chromaticities(icc.PRIMARIES[12]))).metadata.icc == b""  # grey has no primaries
    wide = read(with_chunks(stored(COLOURS), chunk, chromaticities(icc.ADOBE_RGB)))
    light = (COLOURS / 255) ** (100_000 / gamma) @ (np.linalg.inv(xyz_of_rgb(icc.PRIMARIES[1])) @ xyz_of_rgb(icc.ADOBE_RGB)).T
    assert np.abs(shown(wide) - srgb(light)).max() < 1.01


def test_png_of_primaries_alone() -> None:
    found = read(with_chunks(stored(COLOURS), chromaticities(icc.PRIMARIES[12])))
    assert np.abs(shown(found) - meant(COLOURS, 12)).max() < 1.01


@pytest.mark.parametrize(
    ("primaries", "transfer", "same"),
    [(12, 13, (12, 13)), (9, 14, (9, 1)), (1, 8, (1, 8)), (1, 1, (1, 1)), (2, 8, (1, 8)), (11, 17, (11, 17))],
)
def test_png_of_code_points(primaries: int, transfer: int, same: tuple[int, int]) -> None:
    found = read(with_chunks(stored(COLOURS), (b"cICP", bytes((primaries, transfer, 0, 1)))))
    assert found.notes == ()
    assert np.abs(shown(found) - meant(COLOURS, *same)).max() < 1.01


def test_precedence_of_png_signals() -> None:
    """cICP, then iCCP, then sRGB, then gAMA and cHRM."""
    p3 = (b"cICP", bytes((12, 13, 0, 1)))
    unspecified, of_srgb = (b"cICP", bytes((2, 2, 0, 1))), (b"cICP", bytes((1, 13, 0, 1)))
    profile = icc.profile(icc.Colours("test", icc.ADOBE_RGB), grey=False)
    plain, profiled = stored(COLOURS), stored(COLOURS, icc_profile=profile)
    assert np.abs(shown(read(with_chunks(profiled, p3, GAMMA_1))) - meant(COLOURS, 12)).max() < 1.01
    assert np.abs(shown(read(with_chunks(plain, SRGB_CHUNK, p3))) - meant(COLOURS, 12)).max() < 1.01
    assert read(with_chunks(profiled, of_srgb)).metadata.icc == b""
    assert read(with_chunks(profiled, unspecified)).metadata.icc == profile
    assert read(with_chunks(profiled, GAMMA_1)).metadata.icc == profile
    assert read(with_chunks(plain, SRGB_CHUNK, GAMMA_1)).metadata.icc == b""


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(transfer: int, name: str) -> None:
    chunk = (b"cICP", bytes((9, transfer, 0, 1)))
    with pytest.raises(InputError, match=rf"^the image has HDR samples \({name}\).*convert it to sRGB or Display P3 first"):
        read(with_chunks(stored(COLOURS), chunk))
    with pytest.raises(InputError, match=name):
        read(patched_avif(9, transfer))
    profiled = read(with_chunks(stored(COLOURS, icc_profile=SRGB), chunk))
    assert profiled.metadata.icc == SRGB
    assert profiled.notes == (f"cICP says {name} and is left out: the ICC profile is kept",)


def test_implausible_colour_signals_are_noted() -> None:
    for chunk, word in (
        ((b"cICP", bytes((99, 13, 0, 1))), "unknown colours (cICP 99/13) are left out"),
        ((b"cICP", bytes((12, 99, 0, 1))), "unknown colours (cICP 12/99) are left out"),
        (chromaticities((0.3,) * 8), "colours are taken for sRGB: the primaries are degenerate"),
        ((b"gAMA", struct.pack(">I", 2**31 - 1)), "colours are taken for sRGB: gamma 4.65661e-05 is out of range"),
    ):
        found = read(with_chunks(stored(COLOURS), chunk))
        assert found.metadata.icc == b""
        assert found.notes == (word,)
    (note,) = read(with_chunks(stored(COLOURS), (b"cICP", bytes((12, 13, 0, 0))))).notes
    assert note.startswith("cICP states narrow-range samples")
    assert read(with_chunks(stored(COLOURS), (b"gAMA", bytes(4)))).notes == ()  # 0 is invalid and ignored (PNG)


# ------------------------------------------------------------------------------------------------ AVIF


def patched_avif(primaries: int, transfer: int, **options: object) -> bytes:
    """An AVIF file with other code points than Pillow's 1 and 13."""
    data = stored(np.dstack([np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))] * 3), "AVIF", quality=95, **options)
    assert data.count(b"colrnclx") == 1
    at = data.index(b"colrnclx") + 8
    assert data[at : at + 4] == b"\0\1\0\x0d"
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


@pytest.mark.parametrize(
    ("primaries", "transfer", "same"),
    [(1, 13, None), (2, 2, None), (1, 1, None), (1, 6, None), (12, 13, (12, 13)), (9, 1, (9, 1)), (1, 8, (1, 8)), (2, 4, (1, 4))],
)
def test_avif(primaries: int, transfer: int, same: tuple[int, int] | None) -> None:
    found = read(patched_avif(primaries, transfer))
    assert found.notes == ()
    assert bool(found.metadata.icc) == (same is not None)
    if same:
        assert np.abs(shown(found) - meant(found.pixels, *same)).max() < 1.01


def test_a_profile_of_avif_counts_before_its_code_points() -> None:
    data = stored(COLOURS, "AVIF", icc_profile=SRGB)
    assert read(data).metadata.icc == SRGB


def test_avif_with_code_points_of_another_item_first() -> None:
    """The primary item has the second of two colour boxes, as if the first were a gain map's."""

    def box(kind: bytes, *parts: bytes) -> bytes:
        return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)

    def colours(primaries: int, transfer: int) -> bytes:
        return box(b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, 0, 0x80))

    from vqcodec.io.signalling import _nclx_code_points

    for wide_items, wide_numbers in ((0, 0), (1, 1)):
        item, number = (">I" if wide_items else ">H"), (">H" if wide_numbers else ">B")
        items = b"".join(
            struct.pack(item, name) + b"\1" + struct.pack(number, place | (0x8000 if wide_numbers else 0x80))
            for name, place in ((5, 1), (7, 2))
        )
        associations = box(b"ipma", bytes((wide_items, 0, 0, wide_numbers)), struct.pack(">I", 2), items)
        properties = box(b"iprp", box(b"ipco", colours(9, 16), colours(12, 13)), associations)
        primary = box(b"pitm", bytes((wide_items, 0, 0, 0)), struct.pack(item, 7))
        data = box(b"ftyp", b"avif\0\0\0\0") + box(b"meta", bytes(4), primary, properties)
        assert _nclx_code_points(io.BytesIO(data)) == (12, 13, 1)
        for length in range(len(data)):  # truncated anywhere
            try:
                _nclx_code_points(io.BytesIO(data[:length]))
            except (struct.error, IndexError):
                continue


# ------------------------------------------------------------------------------------------------ others


@pytest.mark.parametrize(("space", "index", "word"), [(0xFFFF, "R03", ""), (2, "R98", ""), (0xFFFF, "R98", "EXIF"), (1, "R98", "")])
def test_adobe_rgb_by_exif(space: int, index: str, word: str) -> None:
    tags = Image.Exif()
    tags.get_ifd(0x8769)[0xA001] = space
    tags.get_ifd(0x8769)[0xA005] = {1: index}
    found = read(stored(COLOURS, "JPEG", exif=tags, quality=95))
    assert [word in note for note in found.notes] == ([True] if word else [])
    if space == 2 or index == "R03":
        light = (found.pixels / 255) ** (563 / 256) @ (np.linalg.inv(xyz_of_rgb(icc.PRIMARIES[1])) @ xyz_of_rgb(icc.ADOBE_RGB)).T
        assert np.abs(shown(found) - srgb(light)).max() < 1.01
        assert read(stored(COLOURS, "JPEG", exif=tags, icc_profile=SRGB)).metadata.icc == SRGB
    else:
        assert found.metadata.icc == b""


def test_tiff() -> None:
    p3 = icc.PRIMARIES[12]
    plain = {318: p3[:2], 319: p3[2:]}
    found = read(stored(COLOURS, "TIFF", tiffinfo=plain))
    assert np.abs(shown(found) - meant(COLOURS, 12)).max() < 1.01
    assert found.notes == ()
    same = icc.PRIMARIES[1]
    assert read(stored(COLOURS, "TIFF", tiffinfo={318: same[:2], 319: same[2:]})).metadata.icc == b""


@pytest.mark.parametrize("tables", [1, 3])
def test_tiff_with_a_transfer_function(tables: int) -> None:
    table = np.round(65535 * (np.arange(256) / 255)).astype(int).tolist()
    found = read(tiff_with_table(table * tables))
    assert np.abs(shown(found) - meant(COLOURS, transfer=8)).max() < 1.01
    damaged = read(tiff_with_table(table[:200]))
    assert damaged.metadata.icc == b""
    assert damaged.notes == ("colours are taken for sRGB: TransferFunction is incomplete",)


def tiff_with_table(table: list[int]) -> bytes:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags.tagtype[301] = 3
    tags[301] = tuple(table)
    return stored(COLOURS, "TIFF", tiffinfo=tags)


def test_jpeg_2000() -> None:
    data = stored(COLOURS, "JPEG2000", irreversible=False)
    plain = b"\0\0\0\x0fcolr\1\0\0" + struct.pack(">I", 16)
    assert data.count(plain) == 1
    assert read(data).metadata.icc == b""
    romm = read(data.replace(plain, plain[:-4] + struct.pack(">I", 21)))
    light = (COLOURS / 255) ** 1.8 @ (np.linalg.inv(xyz_of_rgb(icc.PRIMARIES[1])) @ xyz_of_rgb(icc.ROMM)).T
    assert np.abs(shown(romm) - srgb(light)).max() < 1.01
    unknown = read(data.replace(plain, plain[:-4] + struct.pack(">I", 20)))
    assert unknown.notes == ("colours are taken for sRGB: JPEG 2000's colour space 20 is unknown",)
    header = data.index(b"jp2h") - 4
    profile = icc.profile(icc.Colours("test", icc.ADOBE_RGB), grey=False)
    own = struct.pack(">I", 11 + len(profile)) + b"colr\2\0\0" + profile
    grown = struct.pack(">I", struct.unpack_from(">I", data, header)[0] - len(plain) + len(own))
    assert read((data[:header] + grown + data[header + 4 :]).replace(plain, own)).metadata.icc == profile


def bmp(kind: bytes, points: Sequence[float] = (), gamma: float = 0, profile: bytes = b"") -> bytes:
    """A BMP file of version 5 with COLOURS."""
    rows = stored(COLOURS, "BMP")[54:]
    header = struct.pack("<IiiHHIIiiII", 124, 24, 24, 1, 24, 0, len(rows), 0, 0, 0, 0) + bytes(16) + kind
    header += b"".join(struct.pack("<i", round(value * (1 << 30))) for value in points).ljust(36, b"\0")
    header += struct.pack("<3I", *[round(gamma * 65536)] * 3) + struct.pack("<4I", 4, 124 + len(rows), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 14 + 124 + len(rows) + len(profile), 0, 0, 138) + header + rows + profile


def test_bmp() -> None:
    p3 = np.array(icc.PRIMARIES[12]).reshape(4, 2)
    columns = np.dstack([p3[1:, 0], p3[1:, 1], 1 - p3[1:].sum(axis=1)])[0]  # X, Y, Z of each
    white = np.array([p3[0, 0] / p3[0, 1], 1, (1 - p3[0].sum()) / p3[0, 1]])
    columns *= np.linalg.solve(columns.T, white)[:, None]
    found = read(bmp(bytes(4), columns.ravel().tolist(), 1.0))
    np.testing.assert_array_equal(found.pixels, COLOURS)
    assert np.abs(shown(found) - meant(COLOURS, 12, 8)).max() < 1.01
    assert read(bmp(b"BGRs")).metadata.icc == b""
    assert read(bmp(bytes(4))).metadata.icc == b""
    assert read(bmp(b"DEBM", profile=SRGB)).metadata.icc == SRGB
    assert read(bmp(b"KNIL", profile=b"profile.icc\0")).notes == ("colours are taken for sRGB: the ICC profile is in another file",)


def test_gif() -> None:
    data = stored(COLOURS, "GIF")
    place = 13 + 3 * (2 << (data[10] & 7))
    blocks = b"".join(bytes((len(part),)) + part for part in (SRGB[at : at + 255] for at in range(0, len(SRGB), 255)))
    assert read(data[:place] + b"\x21\xff\x0bICCRGBG1012" + blocks + b"\0" + data[place:]).metadata.icc == SRGB


# ------------------------------------------------------------------------------------------------ profiles that do not fit


def test_a_profile_that_does_not_fit_is_noted_when_reading() -> None:
    grey_profile = icc.profile(icc.Colours("test", curves=(icc.gamma_curve(1),) * 3), grey=True)
    found = read(stored(RAMP, "JPEG", icc_profile=SRGB, quality=100))
    assert found.metadata.icc[16:20] == b"GRAY"
    assert found.notes == ("the RGB ICC profile is converted to grey, as the pixels are",)
    found = read(stored(COLOURS, "JPEG", icc_profile=grey_profile))
    assert found.metadata.icc[16:20] == b"RGB "
    assert found.notes == ("the grey ICC profile is converted to RGB, as the pixels are",)
    for broken in (b"profile", SRGB[:200]):
        found = read(stored(COLOURS, "JPEG", icc_profile=broken))
        assert found.metadata.icc == b""
        assert found.notes == ("the ICC profile is damaged and left out",)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16"])
def test_grey_of_any_mode_has_a_profile_of_grey_or_none(mode: str) -> None:
    image = Image.fromarray(RAMP.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(RAMP).convert(mode)
    profile = icc.profile(icc.Colours("test", curves=(icc.gamma_curve(1),) * 3), grey=True)
    image.save(stream := io.BytesIO(), "TIFF", icc_profile=profile)
    found = read(stream.getvalue())
    assert found.metadata.icc == profile
    stream = io.BytesIO()
    assert write_image(found.pixels, stream, format="PNG", metadata=found.metadata) == ()
    assert read(stream.getvalue()).metadata.icc == profile
