"""The figure of function calling: what is right by how many functions are offered."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from infra.contracts import wording
from infra.contracts.records import Pair
from infra.contracts.records.functions import FunctionCalls
from infra.report.figures import LIGHT, Kind, Layout, Palette, image
from infra.report.functions_tables import swept
from infra.report.plots import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT_INCHES = 2.2
_HEAD_INCHES = 0.85


def draw(
    pair: Pair, *, layout: Layout = "wide", palette: Palette = LIGHT, kind: Kind = "svg"
) -> bytes | None:
    """Return the figure as an image file, or none if no task has several numbers of functions.

    Args:
        pair: What to show.
        layout: `wide` has two tasks side by side, `narrow` one below the other.
        palette: Colours, background included.
        kind: File format.
    """
    tasks = swept(pair)
    return image(partial(_figure, tasks, layout, palette), palette, kind) if tasks else None


def describe(pair: Pair) -> str:
    """Return in words what the figure shows, for who cannot see it."""
    return " ".join(
        f"{task}: "
        + "; ".join(
            f"{one.offered} functions, baseline {wording.share(one.baseline)}, candidate "
            f"{wording.share(one.candidate)}"
            for one in found.offered
        )
        + "."
        for task, found in swept(pair).items()
    )


def _figure(tasks: Mapping[str, FunctionCalls], layout: Layout, palette: Palette) -> Figure:
    from matplotlib.figure import Figure

    across = min(2, len(tasks)) if layout == "wide" else 1
    down = -(-len(tasks) // across)
    width, height = 7.6 if layout == "wide" else 3.9, down * (_HEIGHT_INCHES + _HEAD_INCHES)
    figure = Figure(figsize=(width, height))
    for place, (name, found) in enumerate(tasks.items()):
        row, column = divmod(place, across)
        left = (0.6 + column * (width - 0.2) / across) / width
        bottom = 1 - ((row + 1) * (_HEIGHT_INCHES + _HEAD_INCHES) - 0.5) / height
        span = (width - 0.2) / across - 0.75
        axes = figure.add_axes((left, bottom, span / width, _HEIGHT_INCHES / height))
        _draw(axes, name, found, palette)
    return figure


def _draw(axes: Axes, name: str, found: FunctionCalls, palette: Palette) -> None:
    places = range(len(found.offered))
    for values, colour, filled in (
        ([one.baseline for one in found.offered], palette.soft, False),
        ([one.candidate for one in found.offered], palette.gain, True),
    ):
        axes.plot(places, values, color=colour, linewidth=1.2, zorder=2)
        axes.scatter(
            places, values, s=34, color=colour if filled else palette.paper,
            edgecolors=palette.paper if filled else palette.ink, linewidths=0.9, zorder=3,
        )  # fmt: skip
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlim(-0.3, len(found.offered) - 0.7)
    axes.set_xticks([*places], [f"{one.offered:,}" for one in found.offered])
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.set_title(short_name(name), fontsize=9, fontweight="bold", color=palette.ink, loc="left")
    axes.set_xlabel(
        "functions offered    ○ baseline  ● candidate", fontsize=8, color=palette.ink
    )  # fmt: skip
    axes.set_ylabel("all right", fontsize=8, color=palette.ink, labelpad=1)
    axes.grid(axis="y", color=palette.grid, linewidth=0.8)
    axes.tick_params(labelsize=7, colors=palette.ink, length=2)
    for side in axes.spines.values():
        side.set_color(palette.soft)
    axes.set_facecolor(palette.paper)
