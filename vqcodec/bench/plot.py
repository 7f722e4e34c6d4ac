"""The rate/PSNR plot. The only module that imports matplotlib."""

import math
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from vqcodec.bench.bdrate import Curve, RatePoint, at_rate, at_value, bd_rate, common_values, useful_points
from vqcodec.bench.results import BenchResults
from vqcodec.errors import MissingExtraError

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
except ImportError as error:
    raise MissingExtraError("the plot needs matplotlib: pip install 'vqcodec[bench]'") from error

INK, MUTED, GRID = "#212529", "#6c757d", "#e9ecef"
COLOURS = {"jpeg": "#868e96", "webp": "#2f9e44", "avif": "#1971c2", "jxl": "#e8890c"}
VQZ_COLOURS = ("#d6336c", "#7048e8", "#0b7285", "#862e9c")
TICKS_BPP = (0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
LABEL_GAP = 0.04  # smallest distance between two labels, as a fraction of the axis' height
SHOWN_BPP = (0.04, 8.0)  # range of the rate axis


def plot(results: BenchResults, kind: str) -> bytes:
    """A "png" or "svg" of two panels: PSNR over rate, and each codec's file size relative to the anchor's at equal PSNR."""
    curves = {codec.name: useful_points(results.curve(codec.name)) for codec in results.codecs}
    curves = {name: points for name, points in curves.items() if len(points) >= 2}
    colours = _colours(list(curves))
    figure = Figure(figsize=(12, 5.4), dpi=150, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1, wspace=0.04)  # type: ignore[union-attr, call-arg]  # constrained layout has set()
    left, right = figure.subplots(1, 2)
    _draw_rates(left, curves, colours, results.anchor)
    count = len(results.compared_images())
    left.set_title("one image" if count == 1 else f"mean of {count} images", loc="right", fontsize=9, color=MUTED, pad=10)
    _draw_sizes(right, curves, colours, results.anchor)
    stream = BytesIO()
    figure.savefig(stream, format=kind)
    return stream.getvalue()


def _draw_rates(axes: Axes, curves: dict[str, list[RatePoint]], colours: dict[str, str], anchor: str) -> None:
    """Left panel: PSNR over the logarithm of the rate, with BD-rates in the legend."""
    _style_axes(axes, "PSNR at equal rate", "bits per pixel", "RGB PSNR, dB")
    for name in sorted(curves, key=lambda name: _height(curves[name]), reverse=True):
        shown = [point for point in curves[name] if SHOWN_BPP[0] <= point.bpp <= SHOWN_BPP[1]]
        label = name if name == anchor else f"{name}  {_bd_text(curves.get(anchor, []), curves[name])}"
        style = _stroke(name)
        axes.plot([p.bpp for p in shown], [p.value for p in shown], color=colours[name], label=label, **style)
    axes.set_xscale("log")
    axes.set_xticks(TICKS_BPP)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda bpp, _: f"{bpp:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, steps=[1, 2, 5, 10]))
    bpps = [point.bpp for points in curves.values() for point in points]
    if bpps:
        axes.set_xlim(max(min(bpps) * 0.9, SHOWN_BPP[0]), min(max(bpps) * 1.1, SHOWN_BPP[1]))
        legend = axes.legend(title=f"BD-rate against {anchor}", loc="lower right", frameon=False, labelcolor=INK)
        legend.get_title().set_color(MUTED)


def _draw_sizes(axes: Axes, curves: dict[str, list[RatePoint]], colours: dict[str, str], anchor: str) -> None:
    """Right panel: difference in size against the anchor over PSNR, in percent."""
    _style_axes(axes, f"File size against {anchor} at equal PSNR", "RGB PSNR, dB", "difference in size")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda percent, _: f"{percent:+.0f} %" if percent else "0 %"))
    axes.axhline(0, color=colours.get(anchor, MUTED), linewidth=1.4)
    ends: dict[str, _LineEnd] = {}
    for name, points in curves.items():
        low, high = common_values(curves.get(anchor, []), points)
        if name == anchor or not low < high:
            continue
        psnrs = np.linspace(low, high, 200)[1:-1]
        sizes = [100 * (at_value(points, psnr) / at_value(curves[anchor], psnr) - 1) for psnr in psnrs]
        axes.plot(psnrs, sizes, color=colours[name], **_stroke(name, marker=False))
        ends[name] = _LineEnd(float(psnrs[-1]), sizes[-1])
    axes.margins(y=0.08)
    _label_ends(axes, ends, colours)


class _LineEnd(NamedTuple):
    """Data coordinates of a line's last point."""

    x: float
    y: float


def _label_ends(axes: Axes, ends: dict[str, _LineEnd], colours: dict[str, str]) -> None:
    """Write the names to the right of the line ends, from the lowest up, each moved clear of the one below."""
    bottom, top = axes.get_ylim()
    free = -math.inf
    for name, end in sorted(ends.items(), key=lambda item: item[1].y):
        free = max(end.y, free + LABEL_GAP * (top - bottom))
        axes.annotate(name, (end.x, free), (7, 0), textcoords="offset points", va="center", color=colours[name])


def _style_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Style that both panels share: a light grid, no box, the title at the left."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=10)
    axes.set_xlabel(x_label, color=MUTED)
    axes.set_ylabel(y_label, color=MUTED)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#ced4da")


def _colours(names: list[str]) -> dict[str, str]:
    """One colour per codec; the variants of vqz cycle through VQZ_COLOURS."""
    variants = [name for name in names if name not in COLOURS]
    turns = {name: VQZ_COLOURS[index % len(VQZ_COLOURS)] for index, name in enumerate(variants)}
    return {name: COLOURS.get(name) or turns[name] for name in names}


def _stroke(name: str, *, marker: bool = True) -> dict[str, Any]:
    """Line style: vqz is thicker and in front of the others."""
    ours = name.split(":")[0] == "vqz"
    stroke = {"linewidth": 2.6 if ours else 1.6, "zorder": 4 if ours else 3}
    return stroke | ({"marker": "o", "markersize": 5 if ours else 3.5} if marker else {})


def _height(points: Curve) -> float:
    """Sort key of the legend: PSNR at 0.5 bpp, or at the end of a curve that does not reach it."""
    psnr = at_rate(points, 0.5)
    return points[-1].value if math.isnan(psnr) else psnr


def _bd_text(anchor: Curve, test: Curve) -> str:
    """BD-rate as text; empty where it is undefined."""
    percent = bd_rate(anchor, test)
    return "" if math.isnan(percent) else f"{percent:+.1f} %"
