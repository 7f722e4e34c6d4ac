"""Writes docs/results.md from out/figures.txt, out/bench and out/bench-held-out.

Command: `python experiments/make_results.py`

`measure.py`, `make bench` and `make bench-held-out` write the inputs; what is missing among them stays as it is on the page. It has
a section for each set of pictures (Kodak, the held-out photographs) with one table of codecs by all metrics; then a section for
each figure, then the bench's tables on Kodak. Every number comes from the inputs; only the remarks are written here.
"""

import argparse
import math
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from measure import FIGURES, HEADING, title
from pages import DOCS, OUT, code_block, write_page

from vqcodec.bench.plot import plot
from vqcodec.bench.report import SPEED_BPP, markdown_table, picture_cells, point_nearest, run_facts, to_markdown
from vqcodec.bench.results import BD_METRICS, BD_RANGE_BPP, BdMetric, BenchResults

LABELS = {
    "vqz": "**photo** (default)",
    "vqz:::psnr": "**photo --tune psnr**",
    "vqz:photo-lite": "**photo-lite**",
    "jpeg": "JPEG",
    "webp": "WebP",
    "avif": "AVIF",
    "avif:444": "AVIF, 4:4:4",
    "avif:psnr": "AVIF, tune psnr",
    "avif:444:psnr": "AVIF, 4:4:4, tune psnr",
    "avif:3": "AVIF, speed 3",
    "avif:3:444:psnr": "AVIF, speed 3, 4:4:4, tune psnr",
    "jxl": "JPEG XL",
    "jxl:9": "JPEG XL, effort 9",
}
AVIF = "avif"
"""Codec whose times are 1 in the first table, and that our files are compared with picture by picture."""
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
    "avif_speed": "On a processor with AVX-512. The bench's times above are of one without, and of networks that took a fifth "
    "longer.",
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
  equal PSNR (RGB), MS-SSIM (in dB) or SSIMULACRA2, as a mean over the pictures, each between its own curves. Negative means
  smaller files. Required of the mean curves on Kodak at equal PSNR: photo -48 %, photo-lite -37 %; goals: -60 and -43 %.
- AVIF has speed 6, 4:2:0 and libavif's default tune, which favours perceived quality, where nothing else is said. JPEG XL has
  effort 7.
- Time: with one thread, as a multiple of AVIF's, at the setting nearest to {SPEED_BPP:g} bits per pixel.
- [Rate and distortion](#rate-and-distortion) has versions, settings, absolute speeds and the curves behind this table.
"""
CURVES = "Rate and distortion"
HELD_OUT_NOTE = """
No model learned from these photographs, and they are not scanned film, as Kodak is. The columns are those of Kodak's tables. The
worst pictures are those with the largest BD-rate.
"""
FIGURES_INTRO = """
Each section has its command, the date, and the models or the commit that was measured. In the output, "bar" marks a required
value and "goal" a desired one. Figures of photo dated before 2026-11-29, except `parts`, `process` and `memory`, were measured
at the old default effort, which is effort 7 today. Those dated before 2026-11-30, `best` and `memory` of that day, and those by
PSNR have `--tune psnr`, the default until then, unless they name a tune. Those of photo d4a69553fc8e are from before its second
synthesis and masking of strength 5, which change what is tuned for `ssim`; photo 9c0a333e9aa4 differs from today's in the first
synthesis only, by 0.02 dB. Figures of photo-lite dated before 2026-11-29 differ from today's only by the layout of chroma; see
[experiments](experiments/README.md).
"""
BENCH_INTRO = """
`vqz` is the default model, photo; `vqz:::psnr` is photo with `--tune psnr`; `vqz:photo-lite` is photo-lite; `avif:3` is AVIF with
speed 3, `avif:444:psnr` with 4:4:4 and tune=psnr. Other programs ran during the bench, so absolute speeds are lower than on an
idle machine; codecs that a `--with` in the command took from an earlier run had other load beside them than the others.
"""


@dataclass(frozen=True)
class Measured:
    """Output of measure.py for one figure."""

    origin: str  # date, and models or commit
    text: str


_SECTION = re.compile(
    r"`python experiments/measure\.py (?P<name>\w+) \.\./shared/data` \((?P<origin>[^)]*)\)\n\n"
    r"(?P<text>```\n.*?\n```|(?:\|[^\n]*\n\n?)+)",
    re.DOTALL,
)
"""Command, origin and output of a figure on the page."""


def figures_of_page(page: str) -> dict[str, Measured]:
    """Figures that an earlier run wrote to the page, by name: the inverse of `figure_section`."""
    return {
        found["name"]: Measured(" ".join(found["origin"].split()), found["text"].strip("`\n")) for found in _SECTION.finditer(page)
    }


def read_figures(path: Path) -> dict[str, Measured]:
    """Figures by name; of a figure measured twice the later output."""
    found = {}
    for section in f"\n{path.read_text()}".split(f"\n{HEADING}")[1:]:
        heading, _, text = section.partition("\n")
        name, _, origin = heading.partition(": ")
        found[name] = Measured(origin, text.strip())
    return found


def label(codec: str) -> str:
    """Name of a codec in the tables."""
    return LABELS.get(codec, codec)


def measured(results: BenchResults) -> list[BdMetric]:
    """Metrics with a BD-rate of any codec."""
    names = [codec.name for codec in results.codecs if codec.name != results.anchor]
    return [metric for metric in BD_METRICS if any(results.bd_rates(name, metric).pictures.defined for name in names)]


def first_table(results: BenchResults) -> str:
    """Size by each metric, and time, of every codec."""
    speeds = {codec.name: point_nearest(results.points(codec.name), SPEED_BPP) for codec in results.codecs if not codec.missing}
    reference = speeds[AVIF]
    metrics = measured(results)
    rows = []
    for name, speed in speeds.items():
        gains = [results.bd_rates(name, metric).pictures.mean for metric in metrics]
        sizes = ["0 %" if name == results.anchor else f"{gain:+.0f} %" for gain in gains]
        times = [reference.encode_mps / speed.encode_mps, reference.decode_mps / speed.decode_mps]
        rows.append((label(name), *sizes, *(f"{time:.2g}" for time in times)))
    header = ("codec", *(f"size at equal {metric.name}" for metric in metrics), "encode time", "decode time")
    return markdown_table(header, rows)


def winners_table(results: BenchResults) -> str:
    """The codecs with the smallest files by BD-rate against AVIF: by mean over the pictures, and counted by picture."""
    anchored = replace(results, anchor=AVIF)
    rows = []
    for metric in measured(anchored):
        rates = {codec.name: anchored.bd_rates(codec.name, metric).pictures for codec in results.codecs}
        means = sorted((pictures.mean, name) for name, pictures in rates.items() if pictures.defined)
        best = [f"{label(name)} ({picture_cells(rates[name])[0]})" for _, name in means[:2]]
        wins = dict.fromkeys(rates, 0)
        for picture in results.compared_images():
            of_picture = ((pictures.percents.get(picture, math.nan), name) for name, pictures in rates.items())
            found = [(percent, name) for percent, name in of_picture if not math.isnan(percent)]
            if found:
                wins[min(found)[1]] += 1
        counts = sorted(((count, name) for name, count in wins.items() if count), reverse=True)
        rows.append((metric.name, *best, ", ".join(f"{label(name)} {count}" for count, name in counts)))
    return markdown_table(("at equal", "smallest files", "second", "pictures on which each is smallest"), rows)


def against_avif(results: BenchResults) -> str:
    """Our BD-rates against AVIF, picture by picture: mean, median, worst."""
    anchored = replace(results, anchor=AVIF)
    metrics = measured(anchored)
    rows = []
    for codec in results.codecs:
        for metric in metrics if codec.name.startswith("vqz") else ():
            rates = anchored.bd_rates(codec.name, metric).pictures
            smaller = f"{sum(rate.percent < 0 for rate in rates.defined)} of {len(rates.defined)}"
            mean, median, _, worst = picture_cells(rates)
            rows.append((label(codec.name), metric.name, mean, median, smaller, worst))
    return markdown_table(("codec", "at equal", "mean", "median", "pictures smaller than AVIF's", "worst"), rows)


def set_section(heading: str, command: str, results: BenchResults, picture: str) -> list[str]:
    """The comparison of all codecs on one set of pictures; `picture` is the file name of its plot."""
    (DOCS / picture).write_bytes(plot(results, "png"))
    return [
        f"## {heading}",
        f"{len(results.compared_images())} pictures. Command: `{command}`. {run_facts(results)}",
        first_table(results),
        "The codecs with the smallest files, by BD-rate against AVIF (speed 6):",
        winners_table(results),
        "BD-rate against AVIF (speed 6), picture by picture:",
        against_avif(results),
        f"![Rate and distortion of every codec]({picture})",
    ]


class PictureSet(NamedTuple):
    """A set of pictures: its heading on the page, and the folder in out/ of the bench's report."""

    heading: str
    folder: str


KODAK, HELD_OUT = PictureSet("Kodak", "bench"), PictureSet("Held-out photographs", "bench-held-out")


def section_of_page(heading: str, page: str) -> list[str]:
    """The section of a heading that an earlier run wrote to the page; empty if there is none."""
    found = re.search(rf"^## {heading}\n.*?(?=\n\n## |\n*\Z)", page, re.MULTILINE | re.DOTALL)
    return [] if found is None else [found[0]]


def bench_section(of: PictureSet, command: str, picture: str, note: str, page: str) -> list[str]:
    """The comparison on a set of pictures, from the bench's report or, without one, as it is on the page."""
    folder = OUT / of.folder
    if (folder / "results.json").exists():
        return [*set_section(of.heading, command, read_results(folder), picture), note.strip()]
    kept = section_of_page(of.heading, page)
    print(f"{folder} is missing (`{command}`): {of.heading} {'stays as it is' if kept else 'is left out'}", file=sys.stderr)
    return kept


def read_results(folder: Path) -> BenchResults:
    """Results of the bench's report in a folder, with the codecs in the order of LABELS."""
    results = BenchResults.from_json((folder / "results.json").read_text())
    order = list(LABELS)
    return replace(
        results, codecs=sorted(results.codecs, key=lambda codec: order.index(codec.name) if codec.name in order else len(order))
    )


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
    page, new = DOCS / "results.md", OUT / "figures.txt"
    before = page.read_text() if page.exists() else ""
    figures = figures_of_page(before) | (read_figures(new) if new.exists() else {})
    parts = ["# Results", "This page is made by `python experiments/make_results.py`."]
    parts += bench_section(KODAK, "make bench", "rate_distortion.png", NOTES, before)
    parts += bench_section(HELD_OUT, "make bench-held-out", "rate_distortion_held_out.png", HELD_OUT_NOTE, before)
    parts += ["## Figures", FIGURES_INTRO.strip()]
    for name in FIGURES:
        if name in figures:
            parts += figure_section(name, figures[name])
    if (OUT / KODAK.folder / "results.json").exists():
        heading, *rest = to_markdown(read_results(OUT / KODAK.folder), title=CURVES).strip().split("\n\n")
        parts += [heading, BENCH_INTRO.strip(), *rest]
    else:
        parts += section_of_page(CURVES, before)
    write_page("results.md", parts)


if __name__ == "__main__":
    main()
