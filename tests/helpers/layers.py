"""Files with DCT blocks in all cells, which the encoder does not choose for graphics and for tiny pictures."""

from vqcodec.arrays import Pixels
from vqcodec.codec import rate_control
from vqcodec.codec.picture import picture_of
from vqcodec.codec.pipeline import Encoder
from vqcodec.format.container import File
from vqcodec.format.header import Metadata
from vqcodec.options import EncodeOptions
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel


def encode_blocks(pixels: Pixels, *, model: str | ExactModel = "photo", **choices: object) -> bytes:
    """The file of a picture as `vqcodec.encode` would make it of a photograph."""
    options = EncodeOptions(**choices)
    found = registry.find(model) if isinstance(model, str) else model
    return rate_control.file_for(Encoder(picture_of(pixels, options, Metadata()), found, options), options)


class WithoutGraphics:
    """The index sections of a file without graphic cells, for groups.open_each."""

    cells = None

    def __init__(self, file: File) -> None:
        self.indices = file.indices
