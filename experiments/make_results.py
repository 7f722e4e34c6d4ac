"""Writes docs/results.md from out/figures.txt (the output of measure.py) and out/bench (the report of `make bench`).

Command: `python experiments/make_results.py`

The page has one table of codecs, then one section per figure, then the bench's tables. Every number comes from the two inputs; only
the remarks are written here.
"""

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

from measure import FIGURES, HEADING, title
from pages import DOCS, OUT, code_block, write_page

from vqcodec.bench.bdrate import Curve, RatePoint, bd_rate
from vqcodec.bench.report import SPEED_BPP, markdown_table, point_nearest, run_facts, to_markdown
from vqcodec.bench.results import BD_RANGE_BPP, BenchResults

LABELS = {
    "vqz": "**photo** (default)",
    "vqz:::ssim": "**photo --tune ssim**",
    "vqz:photo-lite": "**photo-lite**",
    "jpeg": "JPEG",
    "webp": "WebP",
    "avif": "AVIF",
    "jxl": "JPEG XL",
}
TIME_REFERENCE = "avif"
"""Codec whose times are 1 in the first table."""
REMARKS = {
    "models": "Computed from the bench's results below.",
    "kinds": "The samples are drawn by this project (`samples/make_samples.py`). PNG, WebP and AVIF are written by Pillow: PNG "
    "optimised, lossless WebP with method 6 and quality 100, lossy WebP and AVIF with its defaults (quality 75; AVIF with speed 6 "
    "and 4:2:0). JPEG XL has effort 7, lossy with distance 1. Defaults aim at different qualities: compare bytes at equal PSNR. A "
    "dash: the codec does not hold the picture or was not installed.",
    "screens": "PSNR is over all channels, colours times alpha. AVIF is written by Pillow and exact at most in grey: where it does "
    "not reach our PSNR, its file of quality 100 counts, of a lower PSNR. The screens whose PSNR it reaches have a line of "
    "their own.",
    "lossless": "Ratios of sums. Colours under alpha 0 are 0, and WebP need not keep them.",
    "effort": "photo-lite has nothing to aim at, so its efforts from 4 on are equal. photo's effort 9 misses its bar of -4 %.",
    "speed": "Rates and qualities repeat exactly; speeds depend on the machine. An earlier machine, about half as fast by "
    "libwebp's speed, missed the bars for decode.",
    "parts": "photo-lite misses the bar at scale 8, because its DCs take a large part of the decoding time. The figure for a "
    "region varies by half from run to run.",
    "memory": "Bar and goal have a fixed part and a part per pixel.",
    "adapted": "Misses its bar on both domains. Other work ran on the machine, so the number of steps is small. A few flat "
    "pictures move the mean held-out gain. See [training.md](training.md).",
    "gan": "LPIPS and high band of gan are absolute; its other figures are differences to the best decode of the same file. The "
    "default strength misses the bar for MS-SSIM at the lowest rate, and with `--tune ssim` that for the high band at the highest "
    "rate; strength 1 misses several bars. With `--tune psnr` AVIF has "
    "the higher MS-SSIM and SSIMULACRA2 at these rates, with `--tune ssim` photo's best decode has. [blind.md](blind.md) has a "
    "visual comparison.",
    "denoise": "The speed was measured while other programs ran; the denoiser has become faster since.",
}
NOTES = f"""
- Size: BD-rate against JPEG over {BD_RANGE_BPP[0]:g} to {BD_RANGE_BPP[1]:g} bits per pixel, the mean difference in file size at
  equal PSNR (RGB) or equal SSIMULACRA2. Negative means smaller files. Required at equal PSNR: photo -48 %, photo-lite -37 %;
  goals: -60 and -43 %.
- Time: with one thread, as a multiple of AVIF's, at the setting nearest to {SPEED_BPP:g} bits per pixel.
- [Rate and distortion](#rate-and-distortion) has versions, settings, absolute speeds and the curves behind this table.
"""
FIGURES_INTRO = """
Each section has its command, the date, and the models or the commit that was measured. In the output, "bar" marks a required
value and "goal" a desired one. Figures of photo dated before 2026-11-29, except `parts`, `process` and `memory`, were measured
at the old default effort, which is effort 7 today. Figures of photo-lite dated before 2026-11-29 differ from today's only by the
layout of chroma; see [experiments](experiments/README.md).
"""
BENCH_INTRO = """
`vqz` is the default model, photo; `vqz:::ssim` is photo with `--tune ssim`; `vqz:photo-lite` is photo-lite. Other programs
ran during the bench, so absolute speeds are lower than on an idle machine.
"""


@dataclass(frozen=True)
class Measured:
    """Output of measure.py for one figure."""

    origin: str  # date, and models or commit
    text: str


def read_figures(path: Path) -> dict[str, Measured]:
    """Figures by name; of a figure measured twice the later output."""
    found = {}
    for section in f"\n{path.read_text()}".split(f"\n{HEADING}")[1:]:
        heading, _, text = section.partition("\n")
        name, _, origin = heading.partition(": ")
        found[name] = Measured(origin, text.strip())
    if not found:
        raise SystemExit(f"{path}: no figures: write it with `python experiments/measure.py all ../shared/data`")
    return found


def ssimulacra2_curve(results: BenchResults, codec: str) -> Curve:
    """A codec's points as (bpp, SSIMULACRA2)."""
    return [RatePoint(point.bpp, point.ssimulacra2) for point in results.points(codec)]


def first_table(results: BenchResults) -> str:
    """Size and time of every codec."""
    speeds = {codec.name: point_nearest(results.points(codec.name), SPEED_BPP) for codec in results.codecs if not codec.missing}
    reference = speeds[TIME_REFERENCE]
    rows = []
    for name, speed in speeds.items():
        gains = [
            bd_rate(results.curve(results.anchor), results.curve(name), bpp_range=BD_RANGE_BPP),
            bd_rate(ssimulacra2_curve(results, results.anchor), ssimulacra2_curve(results, name), bpp_range=BD_RANGE_BPP),
        ]
        sizes = ["0 %" if name == results.anchor else f"{gain:+.0f} %" for gain in gains]
        times = [reference.encode_mps / speed.encode_mps, reference.decode_mps / speed.decode_mps]
        rows.append((LABELS.get(name, name), *sizes, *(f"{time:.2g}" for time in times)))
    header = ("codec", "size at equal PSNR", "size at equal SSIMULACRA2", "encode time", "decode time")
    return markdown_table(header, rows)


def figure_section(name: str, measured: Measured) -> list[str]:
    """Heading, command, remark and output of one figure."""
    parts = [
        f"### {title(FIGURES[name])}",
        f"`python experiments/measure.py {name} ../shared/data` ({measured.origin})",
        measured.text if measured.text.startswith("|") else code_block(measured.text),
    ]
    return [*parts, REMARKS[name]] if name in REMARKS else parts


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    results = BenchResults.from_json((OUT / "bench" / "results.json").read_text())
    figures = read_figures(OUT / "figures.txt")
    parts = [
        "# Results",
        f"Codecs compared on Kodak, {len(results.compared_images())} pictures. Command: `make bench`. {run_facts(results)}",
        first_table(results),
        NOTES.strip(),
        "![Rate and PSNR of every codec](rate_psnr.png)",
        "This page is made by `python experiments/make_results.py`.",
        "## Figures",
        FIGURES_INTRO.strip(),
    ]
    for name in FIGURES:
        if name in figures:
            parts += figure_section(name, figures[name])
    heading, *rest = to_markdown(results, title="Rate and distortion").strip().split("\n\n")
    parts += [heading, BENCH_INTRO.strip(), *rest]
    write_page("results.md", parts)
    shutil.copy(OUT / "bench" / "rate_psnr.png", DOCS)


if __name__ == "__main__":
    main()
