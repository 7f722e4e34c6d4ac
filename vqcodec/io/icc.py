"""ICC profiles: written from primaries and a transfer curve, and fitted to grey or RGB pixels.

Profiles written here have version 4.3 and about 450 bytes: a matrix and curves for RGB, a curve for grey (ICC.1:2010, sections 8.3
and 8.4). Chromaticities and curves are those of ITU-T H.273 (2021), tables 2 and 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float64, UInt16

_HEADER_BYTES, _ENTRY_BYTES = 128, 12
SIGNATURE: Final = b"acsp"
"""Bytes 36 to 39 of every profile."""
_D50 = (0.9642, 1.0, 0.8249)
"""X, Y, Z of the white point of the profile connection space."""
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_MOST_TAGS: Final = 100
"""The limit of littlecms."""
_SHARED_TAGS: Final[tuple[bytes, ...]] = (b"desc", b"cprt", b"wtpt", b"chad")
_RGB_CURVES: Final[tuple[bytes, ...]] = (b"rTRC", b"gTRC", b"bTRC")
_DEVICE_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
_SPACE_NAMES = {b"RGB ": "RGB", b"GRAY": "grey", b"CMYK": "CMYK", b"Lab ": "Lab", b"XYZ ": "XYZ", b"YCbr": "YCbCr"}

Primaries = tuple[float, float, float, float, float, float, float, float]
"""Chromaticities x, y of white, red, green and blue."""

_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
PRIMARIES: Final[dict[int, Primaries]] = {
    1: (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # BT.709, sRGB
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 M
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.470 BG
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 170M
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 240M
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),  # film
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    10: (1 / 3, 1 / 3, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0),  # XYZ
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # P3, DCI white
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # P3, D65
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}
"""Chromaticities by H.273's ColourPrimaries."""
ADOBE_RGB: Final[Primaries] = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ROMM: Final[Primaries] = (0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)


# ------------------------------------------------------------------------------------------------ transfer curves as tag data


def gamma_curve(gamma: float) -> bytes:
    """Curve linear = sample ** gamma. Raises ValueError for an implausible gamma."""
    if not 0.1 <= gamma <= 10:
        raise ValueError(f"gamma {gamma:g} is out of range")
    return b"para\0\0\0\0" + struct.pack(">HHi", 0, 0, round(gamma * 65536))


def _broken_power(gamma: float, a: float, b: float, c: float, d: float) -> bytes:
    """Curve linear = (a * sample + b) ** gamma for samples from d on, c * sample below."""
    return b"para\0\0\0\0" + struct.pack(">HH5i", 3, 0, *(round(value * 65536) for value in (gamma, a, b, c, d)))


def table_curve(values: UInt16) -> bytes:
    """Curve with these values of linear light, 0 to 65535, for evenly spaced samples from 0 to full."""
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + values.astype(">u2").tobytes()


SRGB_CURVE: Final = _broken_power(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = _broken_power(1 / 0.45, 1 / 1.09929682680944, 0.09929682680944 / 1.09929682680944, 1 / 4.5, 0.081242858298635)
BT709_TRANSFERS: Final = (1, 6, 14, 15)
CURVES: Final[dict[int, bytes]] = {
    **dict.fromkeys((*BT709_TRANSFERS, 11, 12), _BT709_CURVE),
    4: gamma_curve(2.2),
    5: gamma_curve(2.8),
    7: _broken_power(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0912),
    8: gamma_curve(1),
    13: SRGB_CURVE,
    17: gamma_curve(2.6),
}
"""Transfer curves by H.273's TransferCharacteristics."""


# ------------------------------------------------------------------------------------------------ writing


@dataclass(frozen=True)
class Colours:
    """A colour space of samples: its primaries, and the transfer curves of red, green and blue as tag data."""

    name: str
    primaries: Primaries = PRIMARIES[1]
    curves: tuple[bytes, bytes, bytes] = (SRGB_CURVE,) * 3

    @property
    def is_srgb(self) -> bool:
        """Whether this is sRGB, within the precision of published chromaticities."""
        return self.curves == (SRGB_CURVE,) * 3 and np.allclose(self.primaries, PRIMARIES[1], rtol=0, atol=0.002)


def profile(colours: Colours, *, grey: bool) -> bytes:
    """The ICC profile for RGB or grey samples. Raises ValueError for degenerate primaries, and for grey with different curves."""
    tags = {b"desc": _text(colours.name), b"cprt": _text("CC0"), b"wtpt": _xyz(_D50)}
    if grey:
        if len(set(colours.curves)) > 1:
            raise ValueError("grey has one curve")
        return _assemble(b"GRAY", tags | {b"kTRC": colours.curves[0]})
    tags[b"chad"] = b"sf32\0\0\0\0" + _fixed(_matrices(colours.primaries)[0].ravel())
    return _assemble(b"RGB ", tags | _columns(colours.primaries) | dict(zip(_RGB_CURVES, colours.curves, strict=True)))


def _columns(primaries: Primaries) -> dict[bytes, bytes]:
    """Tags with X, Y, Z of red, green and blue."""
    return {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _matrices(primaries)[1].T, strict=True)}


def _matrices(primaries: Primaries) -> tuple[Float64, Float64]:
    """Bradford's chromatic adaptation to D50, float64 [3, 3], and the adapted X, Y, Z of red, green and blue as columns [3, 3]."""
    x, y = np.array(primaries).reshape(4, 2).T
    points = np.stack([x, y, 1 - x - y])  # float64 [3, 4]: white, red, green, blue
    if not np.isfinite(points).all() or y[0] <= 0 or abs(np.linalg.det(points[:, 1:])) < 1e-4:
        raise ValueError("the primaries are degenerate")
    white = points[:, 0] / y[0]
    scales = np.linalg.solve(points[:, 1:], white)
    cones = _BRADFORD @ white
    if (scales <= 0).any() or (cones <= 0).any():
        raise ValueError("the white point is outside the primaries")
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / cones) @ _BRADFORD
    return adaptation, adaptation @ (points[:, 1:] * scales)


def _fixed(values: Float64 | tuple[float, ...]) -> bytes:
    rounded = [round(float(value) * 65536) for value in values]
    if any(abs(value) >= 1 << 31 for value in rounded):
        raise ValueError("the chromaticities are out of range")
    return struct.pack(f">{len(rounded)}i", *rounded)


def _xyz(values: Float64 | tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(data), 28) + data


def _assemble(space: bytes, tags: dict[bytes, bytes], version: bytes = b"\x04\x30\0\0") -> bytes:
    """A display profile with XYZ as connection space. Tags with equal data share it."""
    table, data, places = b"", b"", {}
    start = _HEADER_BYTES + 4 + _ENTRY_BYTES * len(tags)
    for name, value in tags.items():
        if value not in places:
            places[value] = start + len(data)
            data += value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, places[value], len(value))
    date = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)  # fixed, so that equal pictures become equal files
    header = struct.pack(">I4s4s4s4s4s12s4s", start + len(data), b"", version, b"mntr", space, b"XYZ ", date, SIGNATURE)
    header += bytes(28) + _fixed(_D50)
    return header.ljust(_HEADER_BYTES, b"\0") + struct.pack(">I", len(tags)) + table + data


# ------------------------------------------------------------------------------------------------ fitting


class Fitted(NamedTuple):
    """A profile that fits the pixels, empty for none, and a note if it is not the original one."""

    profile: bytes
    note: str = ""


def fitted(data: bytes, *, grey: bool) -> Fitted:
    """The profile `data` fitted to grey or RGB pixels.

    A grey curve and equal RGB curves describe neutral colours alike, so a profile with either becomes one with the other.
    """
    if not data:
        return Fitted(b"")
    places = _places(data)
    if places is None:
        return Fitted(b"", "the ICC profile is damaged and left out")
    space, wanted = data[16:20], b"GRAY" if grey else b"RGB "
    if data[12:16] not in _DEVICE_CLASSES:
        return Fitted(b"", "the ICC profile is not one for pictures and left out")
    if space == wanted:
        return Fitted(data)
    old, new = _SPACE_NAMES.get(space, "other"), _SPACE_NAMES[wanted]
    curves = {data[places[name]] if name in places else b"" for name in (_RGB_CURVES if space == b"RGB " else (b"kTRC",))}
    curve = curves.pop() if len(curves) == 1 else b""
    if curve and data[20:24] == b"XYZ " and b"A2B0" not in places and (grey or space == b"GRAY"):
        kept = {name: data[places[name]] for name in _SHARED_TAGS if name in places}
        made = {b"kTRC": curve} if grey else _columns(PRIMARIES[1]) | dict.fromkeys(_RGB_CURVES, curve)
        note = f"the {old} ICC profile is converted to {new}, as the pixels are"
        return Fitted(_assemble(wanted, kept | made, data[8:12]), note)
    return Fitted(b"", f"the {old} ICC profile does not fit {new} pixels and is left out")


def _places(data: bytes) -> dict[bytes, slice] | None:
    """Byte ranges of a profile's tags; None if the profile is damaged."""
    if len(data) < _HEADER_BYTES + 4 or data[36:40] != SIGNATURE:
        return None
    size, count = struct.unpack_from(">I", data)[0], struct.unpack_from(">I", data, _HEADER_BYTES)[0]
    first = _HEADER_BYTES + 4 + _ENTRY_BYTES * count
    if not 0 < count <= _MOST_TAGS or not first <= size <= len(data):
        return None
    places = {}
    for name, start, length in struct.iter_unpack(">4sII", data[_HEADER_BYTES + 4 : first]):
        if start + length > size or length < 8:
            return None
        places[name] = slice(start, start + length)
    return places
