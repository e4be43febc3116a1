"""The figure of reliability: how right answers are that are about as probable, task by task."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.contracts.records import Pair
from infra.contracts.records.reliability import Reliability, TaskReliability
from infra.report.figures import LIGHT, Kind, Layout, Palette, image
from infra.report.plots import short_name
from infra.report.reliability_tables import said
from infra.report.text import arm_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE_INCHES = 2.4
_HEAD_INCHES = 0.85


def draw(
    pair: Pair, *, layout: Layout = "wide", palette: Palette = LIGHT, kind: Kind = "svg"
) -> bytes | None:
    """Return the figure as an image file, or none if no task is judged by probabilities.

    Args:
        pair: What to show.
        layout: `wide` has three tasks side by side, `narrow` one below the other.
        palette: Colours, background included.
        kind: File format.
    """
    tasks = pair.comparison.reliability
    return image(partial(_figure, tasks, layout, palette), palette, kind) if tasks else None


def describe(pair: Pair) -> str:
    """Return in words what the figure shows, for who cannot see it."""
    return " ".join(
        f"{task}: {'; '.join(said(arm_name(arm), one) for arm, one in arms)}."
        for task, of in pair.comparison.reliability.items()
        if (arms := list(zip(pair.arms, (of.baseline, of.candidate), strict=True)))
    )


def _figure(tasks: Mapping[str, TaskReliability], layout: Layout, palette: Palette) -> Figure:
    from matplotlib.figure import Figure

    across = min(3, len(tasks)) if layout == "wide" else 1
    down = -(-len(tasks) // across)
    width, height = 7.6 if layout == "wide" else 3.9, down * (_SIDE_INCHES + _HEAD_INCHES)
    figure = Figure(figsize=(width, height))
    for place, (name, of) in enumerate(tasks.items()):
        row, column = divmod(place, across)
        left = (0.6 + column * (width - 0.2) / across) / width
        bottom = 1 - ((row + 1) * (_SIDE_INCHES + _HEAD_INCHES) - 0.5) / height
        span = min(_SIDE_INCHES, (width - 0.2) / across - 0.75)
        axes = figure.add_axes((left, bottom, span / width, span / height))
        _draw(axes, name, of, palette)
    return figure


def _draw(axes: Axes, name: str, of: TaskReliability, palette: Palette) -> None:
    axes.plot([0, 1], [0, 1], color=palette.soft, linewidth=1, linestyle=":", zorder=1)
    for one, colour, filled in (
        (of.baseline, palette.soft, False), (of.candidate, palette.gain, True)
    ):  # fmt: skip
        _points(axes, one, colour, palette, filled=filled)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.set_title(short_name(name), fontsize=9, fontweight="bold", color=palette.ink, loc="left")
    axes.set_xlabel("how sure    ○ baseline  ● candidate", fontsize=8, color=palette.ink)
    axes.set_ylabel("right", fontsize=8, color=palette.ink, labelpad=1)
    axes.tick_params(labelsize=7, colors=palette.ink, length=2)
    for side in axes.spines.values():
        side.set_color(palette.soft)
    axes.set_facecolor(palette.paper)


def _points(axes: Axes, one: Reliability, colour: str, palette: Palette, *, filled: bool) -> None:
    """Draw a dot for each bin with rows, the larger the more rows it has."""
    bins = [found for found in one.bins if found.rows]
    most = max(found.rows for found in bins)
    line: dict[str, Any] = {"color": colour, "linewidth": 1, "zorder": 2}
    axes.plot([found.confidence for found in bins], [found.right for found in bins], **line)
    axes.scatter(
        [found.confidence for found in bins],
        [found.right for found in bins],
        s=[12 + 60 * found.rows / most for found in bins],
        color=colour if filled else palette.paper,
        edgecolors=palette.paper if filled else palette.ink,
        linewidths=0.9,
        zorder=3,
    )
