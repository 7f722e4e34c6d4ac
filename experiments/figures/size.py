"""Figures about bytes and quality of files."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from figures.common import DOMAINS, LITE, PHOTO, curve, in_processes, kodak, load, pngs, vqz_points, webp_points
from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.bdrate import bd_rate
from vqcodec.bench.results import BD_RANGE_BPP, BenchResults
from vqcodec.codec import rate_control
from vqcodec.codec.picture import picture_of
from vqcodec.codec.pipeline import Encoder
from vqcodec.format.header import Metadata
from vqcodec.options import EncodeOptions
from vqcodec.train.data import TrainingImage, load_corpus
from vqcodec.weights import registry

BENCH_RESULTS = Path(__file__).resolve().parents[2] / "out" / "bench" / "results.json"


def overhead(data: Path) -> None:
    """File size above the ideal code length."""
    files = [api.encode(image, bpp=0.4, model=LITE) for image in kodak(data)]
    ideal = sum(api.info(file, streams=True)["ideal_bytes"] for file in files)
    over = 100 * (sum(map(len, files)) / ideal - 1)
    print(f"{LITE}: Kodak at 0.4 bpp: {over:+.2f} % (bar +3.5, goal +2)")


def crops(data: Path) -> None:
    """Size of small files above the ideal code length."""
    files = [api.encode(image[200:296, 300:396], quality=50, model=LITE) for image in kodak(data)]
    over = [len(file) - api.info(file, streams=True)["ideal_bytes"] for file in files]
    print(f"{LITE}: 96x96 crops of Kodak, quality 50: mean {np.mean(over):+.0f} bytes, largest {max(over):+d} (bar 90, goal 60)")


def quality100(data: Path) -> None:
    """PSNR at quality 100."""
    found = [vqz_points(image, qualities=(100,))[0].psnr_db for image in kodak(data)]
    print(f"{LITE}: Kodak: mean {np.mean(found):.2f} dB, lowest {min(found):.2f} (bar 44, goal 48)")


def domains(data: Path) -> None:
    """BD-rate on other domains against WebP (method 6)."""
    for (name, mode), aims in zip(DOMAINS.items(), ("bar 0, goal -12", "bar -10, goal -35"), strict=True):
        images = load(data / "domains" / name / "test", mode)
        gain = bd_rate(curve(webp_points, images), curve(vqz_points, images))
        print(f"{LITE}: {name}, {len(images)} test images: {gain:+.2f} % ({aims})")


def models(data: Path) -> None:
    """BD-rate of photo against photo-lite, from the results of `make bench`."""
    results = BenchResults.from_json(BENCH_RESULTS.read_text())
    lite, photo = (results.curve(name) for name in (f"vqz:{LITE}", "vqz"))
    in_range, overall = bd_rate(lite, photo, bpp_range=BD_RANGE_BPP), bd_rate(lite, photo)
    print(f"{PHOTO}: Kodak: {in_range:+.2f} % between 0.1 and 2 bpp (bar -17, goal -30), {overall:+.2f} % over all qualities")


# ------------------------------------------------------------------------------------------------ photographs


class Loss(NamedTuple):
    """Bytes of a photograph's file at default settings, and of the file with DCT blocks in all cells."""

    default: int
    of_blocks: int

    @property
    def percent(self) -> float:
        return 100 * (self.default / self.of_blocks - 1)


def photographs(data: Path) -> None:
    """Bytes that photographs lose to graphic cells, on Kodak and on the photos held out when photo was trained."""
    of_kodak = [TrainingImage(path.name, image) for path, image in zip(pngs(data / "kodak"), kodak(data), strict=True)]
    for name, photos in (("Kodak", of_kodak), ("held-out photos", held_out_photos(data))):
        losses = list(in_processes(_loss, [photo.pixels for photo in photos]))
        percents = [loss.percent for loss in losses]
        mean, worst = np.mean(percents), max(percents)
        print(f"{PHOTO}: {name}, {len(photos)} pictures: mean {mean:+.3f} % (bar 0.05, goal 0), worst {worst:+.3f} % (bar 0.3)")
        for photo, loss in zip(photos, losses, strict=True):
            if loss.default != loss.of_blocks:
                print(f"  {photo.name}: {loss.default:,} bytes, {loss.of_blocks:,} without graphic cells", flush=True)


def held_out_photos(data: Path) -> list[TrainingImage]:
    """The tenth of the photos that the training of photo held out."""
    with tempfile.TemporaryDirectory() as folder:
        for archive in (data / "photos").glob("photos-*.tar"):
            Path(folder, archive.name).symlink_to(archive.resolve())
        return load_corpus(Path(folder), lambda *_: None).held_out


def _loss(pixels: UInt8) -> Loss:
    return Loss(len(api.encode(pixels, model=PHOTO, threads=1)), len(encode_blocks(pixels)))


def encode_blocks(pixels: UInt8) -> bytes:
    """The file with DCT blocks in all cells, at default settings."""
    options = EncodeOptions(threads=1)
    return rate_control.file_for(Encoder(picture_of(pixels, options, Metadata()), registry.find(PHOTO), options), options)
