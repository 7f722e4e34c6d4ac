"""The plot of rate and distortion. The only module that imports matplotlib."""

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from vqcodec.bench.bdrate import Curve, RatePoint, at_rate, at_value, common_values, useful_points
from vqcodec.bench.results import BD_METRICS, BdMetric, BenchResults
from vqcodec.errors import MissingExtraError

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
except ImportError as error:
    raise MissingExtraError("the plot needs matplotlib: pip install 'vqcodec[bench]'") from error

INK, MUTED, GRID = "#212529", "#6c757d", "#e9ecef"
COLOURS = {
    "jpeg": ("#868e96",),
    "webp": ("#2f9e44",),
    "avif": ("#1971c2", "#4dabf7", "#4263eb", "#0b4f8a"),
    "jxl": ("#e8890c", "#a85d00", "#fab005"),
    "vqz": ("#d6336c", "#7048e8", "#0b7285", "#862e9c"),
}
"""Colours of a codec's variants, in the order of the results; they repeat after the last."""
DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
"""Line styles of a codec's variants, but of vqz."""
TICKS_BPP = (0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
LABEL_GAP = 0.04  # smallest distance between two labels, as a fraction of the axis' height
SHOWN_BPP = (0.04, 8.0)  # range of the rate axis


def plot(results: BenchResults, kind: str) -> bytes:
    """A "png" or "svg" with a row of two panels for each metric that was measured.

    Left: the metric over rate. Right: each codec's file size relative to the anchor's at equal values of the metric.
    """
    curves = {metric: _curves(results, metric) for metric in BD_METRICS}
    metrics = [metric for metric in BD_METRICS if curves[metric]] or [BD_METRICS[0]]
    styles = _styles([codec.name for codec in results.codecs])
    figure = Figure(figsize=(12, 5.4 * len(metrics)), dpi=150, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1, wspace=0.04)  # type: ignore[union-attr, call-arg]  # constrained layout has set()
    for (left, right), metric in zip(figure.subplots(len(metrics), 2, squeeze=False), metrics, strict=True):
        _draw_rates(left, curves[metric], metric, styles, results)
        _draw_sizes(right, curves[metric], metric, styles, results.anchor)
    stream = BytesIO()
    figure.savefig(stream, format=kind)
    return stream.getvalue()


def _curves(results: BenchResults, metric: BdMetric) -> dict[str, list[RatePoint]]:
    """Curves of at least two points by codec."""
    found = {codec.name: useful_points(results.curve(codec.name, metric)) for codec in results.codecs}
    return {name: points for name, points in found.items() if len(points) >= 2}


def _draw_rates(
    axes: Axes, curves: dict[str, list[RatePoint]], metric: BdMetric, styles: dict[str, "_Style"], results: BenchResults
) -> None:
    """Left panel: the metric over the logarithm of the rate, with the mean BD-rates over the pictures in the legend."""
    _style_axes(axes, f"{metric.name} at equal rate", "bits per pixel", _axis_label(metric))
    count = len(results.compared_images())
    axes.set_title("one image" if count == 1 else f"mean of {count} images", loc="right", fontsize=9, color=MUTED, pad=10)
    for name in sorted(curves, key=lambda name: _height(curves[name]), reverse=True):
        shown = [point for point in curves[name] if SHOWN_BPP[0] <= point.bpp <= SHOWN_BPP[1]]
        label = name if name == results.anchor else f"{name}  {_bd_text(results.bd_rates(name, metric).pictures.mean)}"
        axes.plot([p.bpp for p in shown], [p.value for p in shown], label=label, marker="o", **styles[name].of_line())
    axes.set_xscale("log")
    axes.set_xticks(TICKS_BPP)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda bpp, _: f"{bpp:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, steps=[1, 2, 5, 10]))
    bpps = [point.bpp for points in curves.values() for point in points]
    if bpps:
        axes.set_xlim(max(min(bpps) * 0.9, SHOWN_BPP[0]), min(max(bpps) * 1.1, SHOWN_BPP[1]))
        legend = axes.legend(
            title=f"BD-rate against {results.anchor}",
            title_fontsize=9,
            loc="lower right",
            frameon=False,
            labelcolor=INK,
            fontsize=8 if len(curves) > 6 else 10,
            labelspacing=0.3,
        )
        legend.get_title().set_color(MUTED)


def _draw_sizes(axes: Axes, curves: dict[str, list[RatePoint]], metric: BdMetric, styles: dict[str, "_Style"], anchor: str) -> None:
    """Right panel: difference in size against the anchor over the metric, in percent."""
    _style_axes(axes, f"File size against {anchor} at equal {metric.name}", _axis_label(metric), "difference in size")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda percent, _: f"{percent:+.0f} %" if percent else "0 %"))
    axes.axhline(0, color=styles[anchor].colour if anchor in styles else MUTED, linewidth=1.4)
    ends: dict[str, _LineEnd] = {}
    for name, points in curves.items():
        low, high = common_values(curves.get(anchor, []), points)
        if name == anchor or not low < high:
            continue
        values = np.linspace(low, high, 200)[1:-1]
        sizes = [100 * (at_value(points, value) / at_value(curves[anchor], value) - 1) for value in values]
        axes.plot(values, sizes, **styles[name].of_line())
        ends[name] = _LineEnd(float(values[-1]), sizes[-1])
    axes.margins(y=0.08)
    _label_ends(axes, ends, styles)


def _axis_label(metric: BdMetric) -> str:
    return f"{metric.name}, {metric.unit}" if metric.unit else metric.name


class _LineEnd(NamedTuple):
    """Data coordinates of a line's last point."""

    x: float
    y: float


def _label_ends(axes: Axes, ends: dict[str, _LineEnd], styles: dict[str, "_Style"]) -> None:
    """Write the names to the right of the line ends, from the lowest up, each moved clear of the one below."""
    bottom, top = axes.get_ylim()
    free = -math.inf
    for name, end in sorted(ends.items(), key=lambda item: item[1].y):
        free = max(end.y, free + LABEL_GAP * (top - bottom))
        axes.annotate(name, (end.x, free), (7, 0), textcoords="offset points", va="center", color=styles[name].colour)


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


@dataclass(frozen=True)
class _Style:
    """Look of a codec's line."""

    colour: str
    dashes: str | tuple[float, tuple[float, ...]]
    ours: bool  # thicker, and in front of the others

    def of_line(self) -> dict[str, Any]:
        """Arguments of Axes.plot."""
        line_width, marker_size, order = (2.6, 5.0, 4) if self.ours else (1.6, 3.5, 3)
        return {
            "color": self.colour,
            "linestyle": self.dashes,
            "linewidth": line_width,
            "markersize": marker_size,
            "zorder": order,
        }


def _styles(names: list[str]) -> dict[str, _Style]:
    """A style for each codec. Variants of one codec share its range of colours; unknown codecs have those of vqz."""
    styles: dict[str, _Style] = {}
    counts: dict[str, int] = {}
    for name in names:
        kind = name.split(":")[0].split("+")[0]
        family = kind if kind in COLOURS else "vqz"
        place = counts.get(family, 0)
        counts[family] = place + 1
        colours = COLOURS[family]
        dashes = "-" if kind == "vqz" else DASHES[place % len(DASHES)]
        styles[name] = _Style(colours[place % len(colours)], dashes, ours=kind == "vqz")
    return styles


def _height(points: Curve) -> float:
    """Sort key of the legend: the value at 0.5 bpp, or at the end of a curve that does not reach it."""
    value = at_rate(points, 0.5)
    return points[-1].value if math.isnan(value) else value


def _bd_text(percent: float) -> str:
    """BD-rate as text; empty where it is undefined."""
    return "" if math.isnan(percent) else f"{percent:+.1f} %"
