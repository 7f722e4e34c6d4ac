"""Picture files in memory."""

import io

from PIL import Image

from helpers.pictures import smooth_picture
from vqcodec.io import exif as exif_bytes
from vqcodec.io import icc
from vqcodec.io.image_reader import ImageData, read_image

PROFILE = icc.profile(icc.Colours("test", icc.ADOBE_RGB), grey=False)


def stored(image: Image.Image, format: str = "PNG", **options: object) -> io.BytesIO:
    """An image as a file of this format, with options of Pillow's `save`."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    stream.seek(0)
    return stream


def turned(data: bytes, format: str = "JPEG") -> ImageData:
    """A picture 40 wide and 30 high, read from a file with this EXIF."""
    return read_image(stored(Image.fromarray(smooth_picture(30, 40)), format, exif=exif_bytes.PREFIX + data))


def resolution(data: ImageData) -> tuple[float, float] | None:
    return exif_bytes.resolution(data.metadata.exif)
