"""Coverage-guided fuzzing of the parser, run by trials.py: any bytes are a picture or a documented error."""

import sys
from contextlib import suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

with atheris.instrument_imports(include=["vqcodec"]):
    from helpers.vqz_fields import resealed
    from vqcodec import api
    from vqcodec.errors import VqcodecError


def one(data: bytes) -> None:
    """Decode the bytes as they are, and with right checksums: the fuzzer would hardly guess these."""
    for given in {data, resealed(data)}:
        with suppress(VqcodecError):
            api.decode(given, refine="none", max_pixels=1 << 16, threads=1)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
