"""The figure of speed: both arms at every point that was timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.contracts import wording
from infra.contracts.records import Pair, SpeedPoint
from infra.probes.speed import summary
from infra.probes.speed.comparing import NOTABLE
from infra.report.figures import LIGHT, Kind, Layout, Palette, frame, image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_INCHES = 0.36
_Both = tuple[SpeedPoint, SpeedPoint]
"""One point, baseline and candidate."""

_Value = Callable[[SpeedPoint], float]
_PANELS: tuple[tuple[str, _Value, bool], ...] = (
    ("First token, ms", lambda point: point.ttft_ms_median, False),
    ("Each further token, ms", lambda point: point.tpot_ms_median, False),
    ("Written tokens a second", lambda point: point.output_tokens_per_second, True),
)
"""Head, value, and whether more of it is better."""


def draw(
    pair: Pair, *, layout: Layout = "wide", palette: Palette = LIGHT, kind: Kind = "svg"
) -> bytes | None:
    """Return the figure as an image file, or none if no point was timed in both arms.

    Args:
        pair: What to show.
        layout: `wide` has the measures side by side, `narrow` one below the other.
        palette: Colours, background included.
        kind: File format.
    """
    points = _both(pair)
    if not points:
        return None
    return image(partial(_figure, points, layout, palette), palette, kind)


def describe(pair: Pair) -> str:
    """Return in words what the figure shows, for who cannot see it."""
    parts = [
        f"{baseline.input_tokens:,} tokens, {baseline.concurrency:,} at a time: "
        f"{wording.number(candidate.output_tokens_per_second)} written tokens a second instead of "
        f"{wording.number(baseline.output_tokens_per_second)}"
        for baseline, candidate in _both(pair)
    ]
    return f"Candidate beside baseline, medians. {'; '.join(parts)}."


def _both(pair: Pair) -> list[_Both]:
    pairs = summary(pair.baseline.bench, pair.candidate.bench)
    return [(pair.baseline, pair.candidate) for pair in pairs if pair.baseline and pair.candidate]


def _figure(points: Sequence[_Both], layout: Layout, palette: Palette) -> Figure:
    from matplotlib.figure import Figure

    names = [
        f"{baseline.input_tokens:,} tokens × {baseline.concurrency:,}" for baseline, _ in points
    ]
    block = _ROW_INCHES * len(points)
    wide = layout == "wide"
    count = len(_PANELS)
    height = 0.85 + block if wide else count * (block + 0.62) + 0.4
    figure = Figure(figsize=(7.6 if wide else 3.9, height))
    left = 0.175 if wide else 0.34
    for place, (head, value, more) in enumerate(_PANELS):
        if wide:
            width = (0.985 - left) / count
            box = (left + place * width, 0.46 / height, width - 0.03, block / height)
        else:
            bottom = height - (place + 1) * (block + 0.62) + 0.34
            box = (left, bottom / height, 0.97 - left, block / height)
        axes = figure.add_axes(box)
        _panel(axes, points, value, more, palette)
        labelled = place == 0 or not wide
        axes.set_yticks(range(len(points)), names if labelled else [""] * len(points), fontsize=8)
        title: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "color": palette.ink}
        axes.set_title(f"{head} {'→' if more else '←'}", loc="left", pad=6, **title)
    gap = "    " if wide else "\n"  # two lines on a telephone
    legend = f"prompt × requests at a time{gap}○ baseline    ● candidate    arrow: better"
    figure.text(0.985 if wide else 0.97, 0.06 / height, legend,
                ha="right", fontsize=8, color=palette.soft)  # fmt: skip
    return figure


def _panel(
    axes: Axes, points: Sequence[_Both], value: _Value, more: bool, palette: Palette
) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for place, point in enumerate(points):
        baseline, candidate = map(value, point)
        if baseline <= 0 or candidate <= 0:  # nothing was answered there
            continue
        gain = candidate / baseline if more else baseline / candidate
        alike = 1 / (1 + NOTABLE) <= gain <= 1 + NOTABLE
        colour = palette.unclear if alike else palette.gain if gain > 1 else palette.loss
        axes.plot([baseline, candidate], [place, place], color=colour, linewidth=1.6, zorder=2)
        axes.plot(
            baseline, place, "o", markersize=8, color=palette.paper,
            markeredgecolor=palette.ink, markeredgewidth=1.3, zorder=3,
        )  # fmt: skip
        axes.plot(candidate, place, "o", markersize=4.6, color=colour, zorder=4)
    axes.set_xscale("log")
    frame(axes, len(points), palette)
    axes.tick_params(axis="y", length=0, pad=6)
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.15, high * 1.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 30 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: wording.number(x)))
    axes.xaxis.set_minor_locator(NullLocator())
