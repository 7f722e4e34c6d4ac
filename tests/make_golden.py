"""Write the golden files anew: a few crops of the samples, coded with the shipped model, and the SHA-256 of their pixels.

Only for a new format version or a new shipped model: a golden file that was released decodes forever.
"""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import api

HERE = Path(__file__).resolve().parent
CROPS = {
    "colour-q40": ("still_life", (300, 200, 429, 290), 40),
    "colour-q95": ("landscape", (200, 150, 261, 203), 95),
    "grey-q60": ("scan", (100, 100, 200, 173), 60),
    "pixel": ("still_life", (0, 0, 1, 1), 60),
}

if __name__ == "__main__":
    folder = HERE / "golden" / "decode"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (picture, crop, quality) in CROPS.items():
        with Image.open(HERE.parent / "samples" / f"{picture}.png") as image:
            data = api.encode(np.asarray(image.crop(crop)), quality=quality)
        (folder / f"{name}.vqz").write_bytes(data)
        digest = hashlib.sha256(api.decode(data, threads=1).tobytes()).hexdigest()
        (folder / f"{name}.sha256").write_text(digest + "\n")
