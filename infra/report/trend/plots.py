"""The chart of one task: scores of both arms, and their difference within its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from infra.report.figures import DARK, LIGHT, Palette, image
from infra.report.trend.control import Judged
from infra.report.trend.series import Point, Trend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 60
"""Runs in a chart: the latest ones."""

_PAINT = Palette(
    paper="#000001", ink="#000002", soft="#000003", grid="#000004",
    loss="#000005", gain="#000006", unclear="#000007",
)  # fmt: skip
"""Colours that nothing else has, so that the picture can change them: see `_themed`."""

_SIZE = 5.2, 3.5
"""Inches: one size that can be read on a telephone, and two of which stand side by side."""


def draw(trend: Trend) -> bytes:
    """Return the chart as SVG, light or dark as its reader's screen is."""
    return _themed(image(partial(_figure, trend, _PAINT), _PAINT, "svg").decode()).encode()


def _themed(svg: str) -> str:
    """Let a picture follow its reader's colour scheme: drawing it once takes half the time."""
    for name, paint in asdict(_PAINT).items():
        svg = svg.replace(paint, f"var(--{name})")
    light, dark = (
        ";".join(f"--{name}:{colour}" for name, colour in asdict(palette).items())
        for palette in (LIGHT, DARK)
    )
    rules = f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
    head, tag, rest = svg.partition("<defs>")
    return f"{head}<style>{rules}</style>{tag}{rest}"


def _figure(trend: Trend, palette: Palette) -> Figure:
    from matplotlib.figure import Figure

    points = trend.points[-MOST:]
    scale = 100 if trend.percent else 1
    figure = Figure(figsize=_SIZE)
    scores = figure.add_axes((0.11, 0.54, 0.86, 0.36))
    differences = figure.add_axes((0.11, 0.09, 0.86, 0.33), sharex=scores)
    places = list(range(len(points)))

    baseline = [scale * point.baseline for point in points]
    candidate = [scale * point.candidate for point in points]
    scores.plot(places, baseline, "s-", color=palette.soft, markersize=6.5, linewidth=1,
                markerfacecolor=palette.paper)  # fmt: skip
    _limits(scores, [point.judged_candidate for point in points], scale, palette)
    scores.plot(places, candidate, "-", color=palette.ink, linewidth=1, zorder=3)
    _marks(scores, candidate, points, [p.judged_candidate for p in points], trend, palette)
    _rings(scores, baseline, [p.judged_baseline.flag is not None for p in points], palette.soft)

    values = [scale * point.difference for point in points]
    differences.axhline(0, color=palette.soft, linewidth=0.8)
    bars = [
        (place, scale * point.low, scale * point.high)
        for place, point in zip(places, points, strict=True)
        if point.low is not None and point.high is not None
    ]
    ends: list[float] = []
    if bars:
        at, lows, highs = zip(*bars, strict=True)
        differences.vlines(at, lows, highs, colors=palette.grid, linewidth=3, zorder=1)
        ends = [*lows, *highs] if max(values) - min(values) < 1e-9 else []
    _limits(differences, [point.judged_difference for point in points], scale, palette)
    _marks(differences, values, points, [p.judged_difference for p in points], trend, palette)

    least = 1.0 if trend.percent else 0.01 * max(map(abs, baseline + candidate))
    _frame(scores, baseline + candidate, least)
    # Runs that are all alike set no scale; the intervals do then.
    _frame(differences, values + ends, least)
    scores.tick_params(axis="x", labelbottom=False)
    shown = sorted({0, len(points) // 2, len(points) - 1})
    differences.set_xticks(shown, [f"{points[place].created:%Y-%m-%d}" for place in shown])
    labels = differences.get_xticklabels()
    if len(shown) > 1:
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")
    differences.set_xlim(-0.6, max(len(points) - 0.4, 1.6))
    unit = ("Score, %", "Difference, points") if trend.percent else ("Score", "Difference")
    scores.set_title(f"{unit[0]}   □ baseline   ● candidate", fontsize=9, loc="left")
    differences.set_title(f"{unit[1]} (candidate − baseline)", fontsize=9, loc="left")
    return figure


def _limits(axes: Axes, judged: Sequence[Judged], scale: float, palette: Palette) -> None:
    """Draw the band within which each run was expected, and its middle."""
    places, lows, highs, centres = [], [], [], []
    for place, one in enumerate(judged):
        if one.low is not None and one.high is not None and one.centre is not None:
            places.append(place)
            lows.append(scale * one.low)
            highs.append(scale * one.high)
            centres.append(scale * one.centre)
    if not places:
        return
    for ends in (lows, highs):
        axes.plot(places, ends, color=palette.unclear, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.plot(places, centres, color=palette.unclear, linewidth=0.6)


def _marks(
    axes: Axes,
    values: Sequence[float],
    points: Sequence[Point],
    judged: Sequence[Judged],
    trend: Trend,
    palette: Palette,
) -> None:
    """Draw the runs: filled if measured anew, hollow if taken over, ringed if out of control."""
    for new, filling in ((True, palette.ink), (False, palette.paper)):
        where = [place for place, point in enumerate(points) if point.new is new]
        axes.plot(where, [values[place] for place in where], "o", markersize=4.5, color=filling,
                  markeredgecolor=palette.ink, zorder=4)  # fmt: skip
    for worse, colour in ((True, palette.loss), (False, palette.gain)):
        _rings(axes, values, [o.flag is not None and trend.worse(o) is worse for o in judged],
               colour)  # fmt: skip


def _rings(axes: Axes, values: Sequence[float], which: Sequence[bool], colour: str) -> None:
    where = [place for place, out in enumerate(which) if out]
    axes.plot(where, [values[place] for place in where], "o", markersize=10, color="none",
              markeredgecolor=colour, markeredgewidth=1.5, zorder=5)  # fmt: skip


def _frame(axes: Axes, values: Sequence[float], least: float) -> None:
    """Scale an axis to its values, with `least` of room at least: one run has no spread."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}".replace("-", "−")))
    # Limits of few runs are wide; the runs themselves decide the scale, with room around them.
    room = max(0.6 * (max(values) - min(values)), least, 1e-9)
    low, high = axes.get_ylim()
    axes.set_ylim(
        max(low, min(values) - 2 * room) - 0.2 * room,
        min(high, max(values) + 2 * room) + 0.2 * room,
    )
