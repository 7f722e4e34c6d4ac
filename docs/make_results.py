"""Put docs/results.md together: python docs/make_results.py

Takes out/figures.txt (what `python docs/measure.py FIGURE ../shared/data` printed, figure after figure) and the report in out/bench
(`make bench`); only the remarks below are written by hand.
"""

import platform
import shutil
from datetime import date
from pathlib import Path

from vqcodec import registry

REMARKS = """\
Bars and goals stand behind each figure. Those of BD-rate against JPEG on Kodak between 0.1 and 2 bpp (the table below) are -37
and -43 % for photo-lite, -48 and -60 % for photo. Figures of photo begin with its name, others are of photo-lite. Each by its name
(`measure.py speed ../shared/data`), listed in the order of `all`. All were measured on 2026-11-26 at commit 88aa255 or, where photo
alone is concerned, at 96de602, which encodes in colour with it alike (gan, parts, effort, memory, monotone, the bench but for
photo-lite's rows, which were put in afterwards); at 96de602 photo-lite had lambda 0.10, too, which its lines of monotone, effort,
parts and memory are of. Before fine DCs: `adapted` (a0a7fd4), own and training (23932af); denoise has not changed. Two
cores of an AMD EPYC, which other machines share: rates and qualities repeat, speeds swing by 30 %. speed, effort, process,
network and the bench ran by themselves, the others beside other work. Ratios to libwebp in the same run say more than
speeds. Memory is of all processes together, since copies of the process share the work. photo-denoise's speed is beside other work.
speed misses its bars of 12 and 20 MP/s for the plain decode on one and two threads. Scale 8 misses its bar of 10 times with
photo-lite, whose DCs are a fifth of its decoding.
Efforts 4 to 9 of photo-lite are the same but for zstd levels: their speeds show how far one run is to be trusted.
Effort 1 of photo misses its bar of 3 times in this run; earlier that day, lambda 0.13, it was 3.43 times as fast at +1.44 %.
Effort 9 misses its bar of 4 % fewer bytes. `adapted` is of the encoder without fine DCs and with lambda 0.13; it misses its bar on
both domains (training.md says what was tried); its means of held-out gains are moved by a few flat pictures (decisions.md, fifth
round).
`make train-lite` made the same model id again in 9 minutes 22 seconds on the machine of 2026-11-24, before there
were fine DCs.
How many times as fast a region is as the whole swings by a half from run to run (decisions.md has alternate ones).
photo-gan meets its bars at the default strength; what its figures do not show is foliage, smooth where nothing was coded, and
a fine screen of dots on bushes and water, plain when enlarged (blind.md). Strength 1 is beyond the bars.
photo's networks learnt from files without fine DCs: its lead over photo-lite was a little larger before these came (-18.11 and
-16.97 %); over all of the sweeps it misses the bar of -17 %.
In the bench two images ran at once. `make mnist` at a stretch took 27 minutes 56 seconds.
"""

if __name__ == "__main__":
    docs = Path(__file__).resolve().parent
    out = docs.parent / "out"
    parts = [
        "# Results",
        f"Models photo {registry.find('photo').id[:12]}, photo-lite {registry.find('photo-lite').id[:12]}, "
        f"{platform.system()} {platform.machine()}, {date.today()}.",
        "## Against the bars",
        REMARKS.strip(),
        "```\n" + (out / "figures.txt").read_text().strip() + "\n```",
    ]
    report = out / "bench" / "results.md"
    parts += ["## Rate and distortion", report.read_text().partition("\n")[2].strip()]
    shutil.copy(report.with_name("rate_psnr.png"), docs)
    (docs / "results.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
