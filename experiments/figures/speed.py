"""Figures about time and memory."""

import io
import tempfile
from pathlib import Path

from PIL import Image

from figures.common import LITE, MOSAIC_QUALITY, PHOTO, best_s, bits_per_pixel, kodak, megapixels, mosaic
from figures.programs import peak_of_program, run_program
from vqcodec import api
from vqcodec.bench.codecs import AvifCodec, WebpCodec

WEBP_QUALITY = 40
"""Quality at which libwebp's file of the mosaic is about as large as ours."""
HALF_A_BIT = 62
"""Quality at which photo's file of the mosaic has half a bit per pixel."""
AVIF_QUALITIES = range(44, 61, 4)
"""Qualities at which AVIF's file of the mosaic is about as large."""


def speed(data: Path) -> None:
    """Speed of encode and decode against libwebp (method 6)."""
    picture = mosaic(data)
    webp = WebpCodec()
    file, webp_file = api.encode(picture, quality=MOSAIC_QUALITY, model=LITE, threads=1), webp.encode(picture, WEBP_QUALITY)
    decode, decode_2, encode, encode_2, webp_decode, webp_encode = (
        megapixels(picture) / best_s(run, 5)
        for run in (
            lambda: api.decode(file, threads=1),
            lambda: api.decode(file, threads=2),
            lambda: api.encode(picture, quality=MOSAIC_QUALITY, model=LITE, threads=1),
            lambda: api.encode(picture, quality=MOSAIC_QUALITY, model=LITE, threads=2),
            lambda: webp.decode(webp_file),
            lambda: webp.encode(picture, WEBP_QUALITY),
        )
    )
    rates = f"{bits_per_pixel(picture, file):.2f} bpp, libwebp at {bits_per_pixel(picture, webp_file):.2f} bpp"
    print(f"{LITE}: {megapixels(picture):.1f} megapixels of photos at {rates}, best of 5")
    for name, ours, theirs, aims in (
        ("decode", decode, webp_decode, "bar 7, goal 15"),
        ("encode", encode, webp_encode, "bar 2, goal 6"),
    ):
        print(f"  {name}, one thread: {ours:.2f} MP/s ({aims}); libwebp {theirs:.1f} MP/s, {theirs / ours:.1f} times as fast")
    print(f"  two threads: decode {decode_2:.2f} MP/s (bar 20), encode {encode_2:.2f} MP/s (bar 4)")


def avif_speed(data: Path) -> None:
    """Time of photo against AVIF's (speed 6), one thread."""
    picture, avif = mosaic(data), AvifCodec()
    file = api.encode(picture, quality=HALF_A_BIT, threads=1)
    sizes = {quality: len(avif.encode(picture, quality)) for quality in AVIF_QUALITIES}
    quality = min(sizes, key=lambda quality: abs(sizes[quality] - len(file)))
    avif_file = avif.encode(picture, quality)
    encode, avif_encode, decode, plain, avif_decode = (
        best_s(run, 3)
        for run in (
            lambda: api.encode(picture, quality=HALF_A_BIT, threads=1),
            lambda: avif.encode(picture, quality),
            lambda: api.decode(file, threads=1),
            lambda: api.decode(file, refine="none", threads=1),
            lambda: avif.decode(avif_file),
        )
    )
    rates = f"{bits_per_pixel(picture, file):.2f} bpp, AVIF at {bits_per_pixel(picture, avif_file):.2f} bpp"
    print(f"{PHOTO}: {megapixels(picture):.1f} megapixels of photos at {rates}, best of 3")
    print(f"  encode: {encode / avif_encode:.2f} of AVIF's time (bar 1, goal 0.4), {megapixels(picture) / encode:.2f} MP/s")
    for name, seconds, aims in (("decode", decode, " (bar 35, goal 12)"), ("plain decode", plain, "")):
        print(f"  {name}: {seconds / avif_decode:.0f} times AVIF's time{aims}, {megapixels(picture) / seconds:.2f} MP/s")
    print(f"  decode, two threads: {megapixels(picture) / best_s(lambda: api.decode(file, threads=2), 2):.2f} MP/s")


def parts(data: Path) -> None:
    """Speed of previews and of a region, as a multiple of the speed of the whole picture."""
    picture = mosaic(data)
    file = api.encode(picture, quality=MOSAIC_QUALITY, model=LITE)
    whole_s = best_s(lambda: _read(file), 5)
    print(f"{LITE}: the picture of `speed`, one thread")
    for scale in (8, 4, 2):
        bar = " (bar 10)" if scale == 8 else ""
        print(f"  scale {scale}: {whole_s / best_s(lambda scale=scale: _read(file, scale=scale), 5):.1f} times as fast{bar}")
    height, width = picture.shape[:2]
    region = width * 15 // 32, height * 15 // 32, width // 10, height // 10  # left, top, width, height
    print(f"  a region of 1 %: {whole_s / best_s(lambda: _read(file, region=region), 5):.1f} times as fast")
    photo_file = api.encode(picture, quality=MOSAIC_QUALITY, model=PHOTO)
    ratio = best_s(lambda: api.decode(photo_file, threads=1), 1) / best_s(lambda: _read(photo_file, scale=8), 3)
    print(f"{PHOTO}: scale 8: {ratio:.1f} times as fast (bar 10)")


def _read(file: bytes, **options: object) -> None:
    with api.open_vqz(io.BytesIO(file)) as opened:
        opened.read(threads=1, **options)


def process(data: Path) -> None:
    """Wall time of a whole process that decodes 512x512 to PPM."""
    for model, aims in ((LITE, "bar 0.5, goal 0.3"), (PHOTO, "bar 0.8, goal 0.4")):
        with tempfile.TemporaryDirectory() as folder:
            file, picture = Path(folder, "a.vqz"), Path(folder, "a.ppm")
            file.write_bytes(api.encode(kodak(data)[0][:512, :512], model=model))
            seconds = best_s(lambda file=file, picture=picture: run_program("decode", "-f", file, picture), 7)
        print(f"{model}: best of 7: {seconds:.2f} s ({aims})")


def memory(data: Path) -> None:
    """Peak memory of all processes, 24 megapixels."""
    for model in (LITE, PHOTO):
        with tempfile.TemporaryDirectory() as folder:
            picture, file, decoded = (Path(folder, name) for name in ("a.ppm", "a.vqz", "b.ppm"))
            Image.fromarray(mosaic(data, 4096, 6144)[:4000, :6000]).save(picture)
            for command, arguments in (("encode", (picture, file, "-m", model)), ("decode", (file, decoded))):
                peak_mb = peak_of_program(command, *arguments)
                print(f"{model}: {command}: {peak_mb:.0f} MB (bar 150 + 288 = 438, goal 100 + 192 = 292)")
