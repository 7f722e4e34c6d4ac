"""vqcodec: an image codec that learns its codebooks from images.

vqcodec.encode(pixels, quality=60) -> bytes; vqcodec.decode(bytes) -> pixels; vqcodec.open_vqz(path) for parts of a file;
vqcodec.info(bytes); vqcodec.verify(bytes); vqcodec.denoise(pixels) -> pixels. `import vqcodec.pillow` makes Pillow read and
write .vqz files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqcodec.api import decode as decode
    from vqcodec.api import denoise as denoise
    from vqcodec.api import encode as encode
    from vqcodec.api import info as info
    from vqcodec.api import open_vqz as open_vqz
    from vqcodec.api import verify as verify

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the codec when it is first used: `vqcodec --version` and the trainer's helpers need none of it."""
    if name in ("encode", "decode", "denoise", "open_vqz", "info", "verify"):
        import vqcodec.api

        return getattr(vqcodec.api, name)
    raise AttributeError(f"module 'vqcodec' has no attribute {name!r}")
