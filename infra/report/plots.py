"""The figure of a report: scores of both arms, and the paired difference with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from infra.contracts import wording
from infra.contracts.records import Pair
from infra.judging.comparison import decisive, effect
from infra.report.figures import DARK, LIGHT, Kind, Layout, Palette, data_uri, frame, image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DARK", "LIGHT", "Layout", "Line", "Palette", "data_uri", "describe", "draw", "shown"]

_ROW_INCHES = 0.40
_LONGEST_NAME = 24


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the figure; shares of 1."""

    name: str
    scores: tuple[float, float] | None
    """Baseline and candidate; none for all rows together."""

    difference: float
    ends: tuple[float, float] | None
    limit: float
    """Difference at which the acceptable loss ends."""

    effect: Literal["loss", "gain", "unclear"]
    higher_is_better: bool = True


def shown(pair: Pair) -> list[Line]:
    """Return what the figure shows: all rows first, then what the verdict rests on, in points."""
    lines = []
    if pooled := pair.comparison.pooled:
        side = pooled.high < 0, pooled.low > 0
        lines.append(Line(
            name="All rows",
            scores=None,
            difference=pooled.difference,
            ends=(pooled.low, pooled.high),
            limit=-pair.verdict.margin_points / 100,
            effect="loss" if side[0] else "gain" if side[1] else "unclear",
        ))  # fmt: skip
    spec = pair.spec.verdict
    for metric in decisive(pair.comparison):
        if metric.unit == "points":
            better = metric.baseline.higher_is_better
            own = spec.own_margin(metric.task, metric.metric)
            margin = (spec.task_margin_points if own is None else own) / 100
            lines.append(Line(
                name=metric.task,
                scores=(metric.baseline.value, metric.candidate.value),
                difference=metric.difference,
                ends=None if metric.low is None or metric.high is None
                else (metric.low, metric.high),
                limit=-margin if better else margin,
                effect=effect(metric),
                higher_is_better=better,
            ))  # fmt: skip
    return lines


def draw(
    pair: Pair,
    *,
    layout: Layout = "wide",
    palette: Palette = LIGHT,
    kind: Kind = "svg",
) -> bytes | None:
    """Return the figure as an image file, or none if there is nothing on the scale of points.

    Args:
        pair: What to show.
        layout: `wide` has scores beside differences; `narrow` has the differences alone.
        palette: Colours, background included.
        kind: File format.
    """
    rows = shown(pair)
    if not rows:
        return None
    return image(partial(_wide if layout == "wide" else _narrow, rows, palette), palette, kind)


def describe(pair: Pair) -> str:
    """Return in words what the figure shows, for who cannot see it."""
    parts = []
    for row in shown(pair):
        between = f", interval {wording.interval(*row.ends, 'points')}" if row.ends else ""
        parts.append(f"{row.name}: {wording.difference(row.difference, 'points')}{between}")
    return "Difference candidate minus baseline in points. " + "; ".join(parts) + "."


def _wide(rows: Sequence[Line], palette: Palette) -> Figure:
    from matplotlib.figure import Figure

    height = 1.05 + _ROW_INCHES * len(rows)
    figure = Figure(figsize=(7.6, height))
    top, bottom = 1 - 0.38 / height, 0.52 / height
    left = 0.03 + 0.0118 * max(len(short_name(row.name)) for row in rows)
    scores = figure.add_axes((left, bottom, 0.47 - left, top - bottom))
    differences = figure.add_axes((0.50, bottom, 0.26, top - bottom), sharey=scores)
    _draw_scores(scores, rows, palette)
    _draw_differences(differences, rows, palette)
    _frame(scores, rows, palette)
    _frame(differences, rows, palette)
    scores.set_yticks(range(len(rows)), [short_name(row.name) for row in rows])
    scores.tick_params(axis="y", length=0, pad=8)
    differences.tick_params(axis="y", length=0, labelleft=False)
    head: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "color": palette.ink}
    figure.text(left, top + 0.12 / height, "Score, %", **head)
    figure.text(0.50, top + 0.12 / height, "Difference, points", **head)
    _write_figures(differences, rows, palette)
    return figure


def _narrow(rows: Sequence[Line], palette: Palette) -> Figure:
    from matplotlib.figure import Figure

    height = 0.85 + 0.58 * len(rows)
    figure = Figure(figsize=(3.9, height))
    axes = figure.add_axes((0.03, 0.5 / height, 0.94, 1 - 0.6 / height))
    _draw_differences(axes, rows, palette)
    _frame(axes, rows, palette)
    axes.set_ylim(len(rows) - 0.55, -0.75)
    axes.tick_params(axis="y", length=0, labelleft=False)
    for place, row in enumerate(rows):
        at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "zorder": 5}
        at["bbox"] = {"facecolor": palette.paper, "edgecolor": "none", "pad": 1.5}
        figures = f"{wording.difference(row.difference, 'points')} {_interval(row)}"
        axes.text(0, place - 0.38, short_name(row.name), ha="left", color=palette.ink, **at)
        axes.text(1, place - 0.38, figures, ha="right", color=palette.soft, fontsize=8, **at)
    axes.set_xlabel("points (candidate − baseline)    ┊ margin", fontsize=8)
    return figure


def _draw_scores(axes: Axes, rows: Sequence[Line], palette: Palette) -> None:
    for place, row in enumerate(rows):
        if row.scores is None:
            continue
        baseline, candidate = (100 * score for score in row.scores)
        colour = _colour(row, palette)
        axes.plot([baseline, candidate], [place, place], color=colour, linewidth=1.6, zorder=2)
        axes.plot(
            baseline, place, "o", markersize=8, color=palette.paper,
            markeredgecolor=palette.ink, markeredgewidth=1.3, zorder=3,
        )  # fmt: skip
        axes.plot(candidate, place, "o", markersize=4.6, color=colour, zorder=4)
    values = [100 * value for row in rows for value in row.scores or ()]
    if not values:
        return
    margin = max(4.0, 0.12 * (max(values) - min(values)))
    axes.set_xlim(max(-2.0, min(values) - margin), min(102.0, max(values) + margin))
    axes.set_xlabel("○ baseline    ● candidate", fontsize=8)


def _draw_differences(axes: Axes, rows: Sequence[Line], palette: Palette) -> None:
    axes.axvline(0, color=palette.soft, linewidth=1, zorder=1)
    reach = [0.0]
    for place, row in enumerate(rows):
        colour = _colour(row, palette)
        reach.append(100 * row.difference)
        axes.plot(
            [100 * row.limit] * 2, [place - 0.3, place + 0.3], color=palette.ink, linewidth=1.1,
            linestyle=(0, (2, 1.5)), zorder=1,
        )  # fmt: skip
        if ends := row.ends:
            low, high = (100 * end for end in ends)
            axes.plot(
                [low, high], [place, place], color=colour, linewidth=2.2,
                solid_capstyle="butt", zorder=2,
            )  # fmt: skip
            for end in (low, high):
                axes.plot([end, end], [place - 0.1, place + 0.1], color=colour, linewidth=1.3)
            reach += [low, high]
        axes.plot(
            100 * row.difference, place, "s", markersize=5.5, color=colour,
            markeredgecolor=palette.paper, markeredgewidth=0.8, zorder=4,
        )  # fmt: skip
    # A margin far outside is left out: it would squeeze everything else.
    far = 2 * max(map(abs, reach))
    reach += [100 * row.limit for row in rows if 100 * abs(row.limit) <= far]
    margin = max(0.5, 0.08 * (max(reach) - min(reach)))
    axes.set_xlim(min(reach) - margin, max(reach) + margin)
    axes.set_xlabel("worse ←   → better      ┊ margin", fontsize=8)
    if not all(row.higher_is_better for row in rows):
        axes.set_xlabel("candidate − baseline", fontsize=8)


def _frame(axes: Axes, rows: Sequence[Line], palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    frame(axes, len(rows), palette)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 4, 5, 10], min_n_ticks=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".replace("-", "−")))


def _write_figures(axes: Axes, rows: Sequence[Line], palette: Palette) -> None:
    at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 9}
    for place, row in enumerate(rows):
        text = wording.difference(row.difference, "points")
        axes.text(1.20, place, text, ha="right", color=_colour(row, palette), **at)
        axes.text(1.25, place, _interval(row), ha="left", color=palette.soft, **at)


def _interval(row: Line) -> str:
    ends = row.ends
    return f"({wording.interval(*ends, 'points')})" if ends else ""


def short_name(name: str) -> str:
    """Return a task's name, shortened in the middle where it would not fit."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:12]}…{name[13 - _LONGEST_NAME :]}"


def _colour(row: Line, palette: Palette) -> str:
    return {"loss": palette.loss, "gain": palette.gain, "unclear": palette.unclear}[row.effect]
