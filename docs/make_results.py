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
and -43 % for photo-lite, -48 and -60 % for photo. Figures of photo begin with its name, others are of photo-lite. Rates and
qualities repeat exactly: quality100, domains and photo-lite's monotone quality, run again on another machine (an AMD processor
with AVX2), came out the same to the last digit printed. Speeds were taken on a machine that others share, so the ratios to
libwebp in the same run say more than the figures. Each by its name (`measure.py speed ../shared/data`), listed in the order of
`all`. speed, parts, process and network ran with nothing else; own and the bench beside other work. `make train-lite` made the
same model id again in 9 minutes 22 seconds. `adapted` is of satellite alone, from the model photo 9101ef0d932a. In the bench
two images ran at once, whose BLAS threads waited for each other then: its speeds of vqz are a quarter to a half of what they
are. SSIM was left out (`--psnr-only`). photo's peak of encode was taken after the others, when aiming went in smaller strips.
Training on 40 images is of the slower machine, too, with nothing else running: files are coded and streams trained on both
cores now; before, the same took 235 and 138 s there. photo-denoise was measured beside other work, so its speed is a lower
bound. On the slower machine with nothing else of ours running, 2026-11-26: decode 8.30 MP/s and encode 2.23 on one thread
(libwebp 41.7 and 6.3 in the same run), 7.21 and 1.46 on two; whole process 0.51 s, photo's 0.87 s, which both miss their bars
there. Two threads were slower than one, which was not looked into. The three stages of `make mnist`, timed there by 400, 100
and 100 of their steps on two threads, would take 24 minutes in all, with some 4 more for the report: it was never run at a
stretch.
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
