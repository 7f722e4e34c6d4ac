"""vqcodec: an image codec that learns its codebooks from images.

vqcodec.encode(pixels, quality=60) -> bytes; vqcodec.decode(bytes) -> pixels; vqcodec.open_vqz(path) for parts of a file;
vqcodec.open_pack(path)[name] for a picture of a pack; vqcodec.info(bytes); vqcodec.verify(bytes); vqcodec.denoise(pixels) ->
pixels; estimate_sigma, generate and repair. They also take pictures and files by path. What they raise on purpose is a
vqcodec.VqcodecError (errors.py). `import vqcodec.pillow` makes Pillow read and write .vqz files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vqcodec.errors import VqcodecError as VqcodecError

if TYPE_CHECKING:
    from vqcodec.api import Pack as Pack
    from vqcodec.api import VqzFile as VqzFile
    from vqcodec.api import decode as decode
    from vqcodec.api import denoise as denoise
    from vqcodec.api import encode as encode
    from vqcodec.api import estimate_sigma as estimate_sigma
    from vqcodec.api import generate as generate
    from vqcodec.api import info as info
    from vqcodec.api import open_pack as open_pack
    from vqcodec.api import open_vqz as open_vqz
    from vqcodec.api import repair as repair
    from vqcodec.api import verify as verify
    from vqcodec.format.header import Metadata as Metadata

__version__ = "0.1.0"
_OF_API = (
    "Metadata",
    "Pack",
    "VqzFile",
    "decode",
    "denoise",
    "encode",
    "estimate_sigma",
    "generate",
    "info",
    "open_pack",
    "open_vqz",
    "repair",
    "verify",
)


def __getattr__(name: str) -> Any:
    """Import the codec when it is first used: `vqcodec --version` and the trainer's helpers need none of it."""
    if name in _OF_API:
        import vqcodec.api

        return getattr(vqcodec.api, name)
    raise AttributeError(f"module 'vqcodec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OF_API})
