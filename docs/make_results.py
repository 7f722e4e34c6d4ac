"""Put docs/results.md together: python docs/make_results.py

Takes out/figures.txt (what `python docs/measure.py all ../shared/data | tee out/figures.txt` printed), the report in out/bench
(`make bench`) and the one in out/bench-photo where there is one; only the remarks below are written by hand.
"""

import platform
import shutil
from datetime import date
from pathlib import Path

from vqcodec import registry

REMARKS = """\
Bars and goals stand behind each figure; that of BD-rate against JPEG on Kodak between 0.1 and 2 bpp (the table below) is -37 %,
its goal -43 %. Rates and qualities repeat exactly; speeds were taken on a machine that others share, so the ratios to libwebp in
the same run say more than the figures. In the run below one other process used the second core.

Missed: one thread decodes 5.4 instead of 7 MP/s and encodes 1.5 instead of 2 (5.7 and 1.45 with nothing else running). The first
version, of fewer features, had 7.95 and 2.52 on a faster day; today the code before this version, in one run with it, is as slow
(4.4 to 5.4 against 4.5 to 4.6). Tile groups of 256 cells would decode 7.1 and encode 1.9 MP/s, but break the bar of memory
(decisions.md).

Missed too: training on 40 images of satellite was stopped after 7 minutes with nothing else running (bar 3 minutes; `measure.py
training`, not in the list below). The first version took 3:26 for two whole folders at once; since then the streams are trained on
1200 small crops for each of two candidates, which is right for photo-lite and too much for a folder of 40.
"""

if __name__ == "__main__":
    docs = Path(__file__).resolve().parent
    out = docs.parent / "out"
    parts = [
        "# Results",
        f"Model photo-lite {registry.find('photo-lite').id[:12]}, {platform.system()} {platform.machine()}, {date.today()}.",
        "## Against the bars",
        REMARKS.strip(),
        "```\n$ python docs/measure.py all ../shared/data\n" + (out / "figures.txt").read_text().strip() + "\n```",
    ]
    for name, title in (("bench", "## Rate and distortion"), ("bench-photo", "## With the network of photo")):
        report = out / name / "results.md"
        if report.exists():
            text = report.read_text().partition("\n")[2].strip()
            plot = f"rate_psnr{name.removeprefix('bench')}.png"
            parts += [title, text.replace("(rate_psnr.png)", f"({plot})")]
            shutil.copy(report.with_name("rate_psnr.png"), docs / plot)
    (docs / "results.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
