"""Coverage-guided fuzzing of the parser, run by trials.py: any bytes are a picture or a documented error."""

import struct
import sys
import zlib
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["vqcodec"]):
    from vqcodec import api
    from vqcodec.errors import VqcodecError
    from vqcodec.format import container
    from vqcodec.format.bits import ByteReader


def resealed(data: bytes) -> bytes:
    """The bytes with a right checksum of the header, if they get that far: the fuzzer would hardly guess it."""
    reader = ByteReader(data)
    try:
        reader.take(9)
        reader.varint(), reader.varint()
        layout = reader.byte()
        if layout & container._TABLED:
            return data
        reader.take(container.ID_BYTES + (1 if layout & 3 == container._TOKENS else 3))
        at = reader.cursor
    except VqcodecError:
        return data
    if len(data) < at + 4:
        return data
    return data[:at] + struct.pack("<I", zlib.crc32(data[at + 4 :], zlib.crc32(data[:at]))) + data[at + 4 :]


def one(data: bytes) -> None:
    for given in (data, resealed(data)):
        with suppress(VqcodecError):
            api.decode(given, refine="none", max_pixels=1 << 16, threads=1)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
