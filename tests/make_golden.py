"""Write the golden files: crops of the samples, coded with the shipped models, and what they decode to.

- every file: the SHA-256 of its exact pixels;
- files of `photo`: the SHA-256 of their latents, and the picture after synthesis, which other machines match within 1 of 255;
- token files: the SHA-256 of their indices, and the picture;
- lossless files: the SHA-256 of their pixels; for those with a pattern codebook, its model, too;
- broken files, made of small ones and named after their defect.

Run it only for a new format version or a new shipped model: a released golden file decodes forever. Existing files are kept; delete
those that are to be made again.
"""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from helpers import graphic_models, lossless_golden
from helpers.golden import CROPS, LITE_CROPS, TOKEN_CROPS, encoded, indices_digest, latents_digest, pixels_digest, pixels_of
from helpers.paths import REPOSITORY
from helpers.pixel_files import broken_pixel_files
from helpers.vqz_fields import broken_files
from vqcodec import api
from vqcodec.weights import registry

GOLDEN = REPOSITORY / "tests" / "golden"


def write_decode(folder: Path, model: str) -> None:
    crops = {name: (picture, crop, "", {"quality": q, "tune": tune}) for name, (picture, crop, q, tune) in CROPS.items()}
    for name, (picture, crop, kind, options) in (crops | (LITE_CROPS if model == "photo-lite" else {})).items():
        if (folder / f"{name}.vqz").exists():
            continue
        data = encoded(pixels_of(picture, crop, kind), model, **options)
        (folder / f"{name}.vqz").write_bytes(data)
        (folder / f"{name}.sha256").write_text(pixels_digest(data) + "\n")


def write_neural(folder: Path) -> None:
    write_decode(folder, "photo")
    for path in folder.glob("*.vqz"):
        if path.with_suffix(".latents").exists():
            continue
        data = path.read_bytes()
        path.with_suffix(".latents").write_text(latents_digest(data, registry.find("photo")) + "\n")
        Image.fromarray(api.decode(data, refine="best", threads=1)).save(path.with_suffix(".png"))


def write_token(folder: Path) -> None:
    for name, (picture, crop, model) in TOKEN_CROPS.items():
        if (folder / f"{name}.vqz").exists():
            continue
        with Image.open(REPOSITORY / "samples" / f"{picture}.png") as image:
            data = api.encode(np.asarray(image.crop(crop)), model=model)
        (folder / f"{name}.vqz").write_bytes(data)
        (folder / f"{name}.indices").write_text(indices_digest(data) + "\n")
        Image.fromarray(api.decode(data, threads=1)).save(folder / f"{name}.png")


def write_lossless(folder: Path) -> None:
    for name, make in lossless_golden.FILES.items():
        if (folder / f"{name}.vqz").exists():
            continue
        data = make()
        (folder / f"{name}.vqz").write_bytes(data)
        (folder / f"{name}.sha256").write_text(pixels_digest(data) + "\n")


def write_patterns(folder: Path) -> None:
    if not (folder / graphic_models.GOLDEN_MODEL).exists():
        graphic_models.saved_model(folder, graphic_models.golden_model())
    model = registry.find_graphic(folder / graphic_models.GOLDEN_MODEL)
    for name, (pixels, options) in graphic_models.golden_pictures().items():
        if not (folder / f"{name}.vqz").exists():
            data = api.encode(pixels, lossless=True, model=model, metadata=graphic_models.METADATA, threads=1, **options)
            (folder / f"{name}.vqz").write_bytes(data)
            (folder / f"{name}.sha256").write_text(hashlib.sha256(api.decode(data, model=model).tobytes()).hexdigest() + "\n")


def write_errors(folder: Path, good: bytes) -> None:
    for name, data in (broken_files(good, registry.find("photo-lite")) | broken_pixel_files()).items():
        if not (folder / f"{name}.vqz").exists():
            (folder / f"{name}.vqz").write_bytes(data)


if __name__ == "__main__":
    for kind in ("decode", "neural", "token", "lossless", "patterns", "errors"):
        (GOLDEN / kind).mkdir(parents=True, exist_ok=True)
    write_decode(GOLDEN / "decode", "photo-lite")
    write_neural(GOLDEN / "neural")
    write_token(GOLDEN / "token")
    write_lossless(GOLDEN / "lossless")
    write_patterns(GOLDEN / "patterns")
    write_errors(GOLDEN / "errors", (GOLDEN / "decode" / "pixel.vqz").read_bytes())
