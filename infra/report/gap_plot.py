"""The figure of gaps: how close the choices are in both arms, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.contracts.records import GapChange, GapSpread, Pair
from infra.contracts.records.gaps import STEPS
from infra.report.figures import LIGHT, Kind, Layout, Palette, frame, image
from infra.report.gap_tables import parts
from infra.report.plots import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE_INCHES = 0.62
_HEADS = ("Best − second best", "Right − best wrong")
_LOW, _QUARTER, _HALF = STEPS // 20, STEPS // 4, STEPS // 2
"""Places of the quantiles of 5, 25 and 50 %."""


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    unit: str
    gaps: tuple[GapChange, GapChange | None]
    """Of the best choice, of the right one."""


def draw(
    pair: Pair, *, layout: Layout = "wide", palette: Palette = LIGHT, kind: Kind = "svg"
) -> bytes | None:
    """Return the figure as an image file, or none if no task has choices.

    Args:
        pair: What to show.
        layout: `wide` has both gaps side by side, `narrow` one below the other.
        palette: Colours, background included.
        kind: File format.
    """
    units = _by_unit(pair)
    if not units:
        return None
    return image(partial(_figure, units, layout, palette), palette, kind)


def describe(pair: Pair) -> str:
    """Return in words what the figure shows, for who cannot see it."""
    said = [
        f"{line.name}: half of the rows have a gap below {gap.baseline.median:.3g} {line.unit} in "
        f"the baseline, below {gap.candidate.median:.3g} in the candidate"
        for lines in _by_unit(pair)
        for line in lines
        if (gap := line.gaps[0])
    ]
    return f"Gaps between the best and the second best choice. {'; '.join(said)}."


def _by_unit(pair: Pair) -> list[list[_Line]]:
    """Return the lines of the figure, those of one unit together."""
    gaps = pair.comparison.gaps
    found: dict[str, list[_Line]] = {}
    for name, of in parts(gaps) if gaps else ():
        if of.best is not None:
            found.setdefault(of.unit, []).append(_Line(name, of.unit, (of.best, of.right)))
    return list(found.values())


def _figure(units: Sequence[Sequence[_Line]], layout: Layout, palette: Palette) -> Figure:
    """Draw a block for each unit: of both gaps, side by side or one below the other."""
    from matplotlib.figure import Figure

    wide = layout == "wide"
    across = 1 if wide else len(_HEADS)
    heights = [0.85 + _LINE_INCHES * len(lines) for lines in units for _ in range(across)]
    height, width = sum(heights), 7.6 if wide else 3.9
    figure = Figure(figsize=(width, height))
    longest = max(len(short_name(line.name)) for lines in units for line in lines)
    left = (0.03 + 0.0118 * longest) if wide else 0.05
    top = height
    for lines in units:
        for which, head in enumerate(_HEADS):
            inches = 0.85 + _LINE_INCHES * len(lines)
            span = (0.985 - left - 0.04) / 2
            at = left + which * (span + 0.04) if wide else left
            box = (
                at, (top - inches + 0.5) / height, span if wide else 0.92,
                _LINE_INCHES * len(lines) / height,
            )  # fmt: skip
            axes = figure.add_axes(box)
            _draw(axes, lines, which, palette, named=wide and which == 0, within=not wide)
            bold: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "color": palette.ink}
            figure.text(at, (top - 0.22) / height, f"{head}, {lines[0].unit}", **bold)
            if not wide:
                top -= inches
        if wide:
            top -= inches
    return figure


def _draw(
    axes: Axes, lines: Sequence[_Line], which: int, palette: Palette, *, named: bool, within: bool
) -> None:
    if which:
        axes.axvline(0, color=palette.soft, linewidth=1, zorder=1)
    ends = [0.0]
    for place, line in enumerate(lines):
        gap = line.gaps[which]
        if gap is None:
            axes.text(0, place, "unknown", va="center", color=palette.soft, fontsize=8)
            continue
        for spread, shift, solid in ((gap.baseline, -0.13, False), (gap.candidate, 0.13, True)):
            _strip(axes, spread, place + shift, palette, solid=solid)
            ends += [spread.quantiles[_LOW], spread.quantiles[-1 - _LOW]]
    frame(axes, len(lines), palette)
    reach = (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends) - 0.03 * reach, max(ends) + 0.05 * reach)
    axes.tick_params(axis="y", length=0, pad=8, labelleft=named)
    if named:
        axes.set_yticks(range(len(lines)), [short_name(line.name) for line in lines])
    else:
        axes.set_yticks([])
    if within:
        for place, line in enumerate(lines):
            axes.text(
                1, place - 0.36, short_name(line.name), ha="right", va="center", fontsize=8,
                color=palette.ink, transform=axes.get_yaxis_transform(),
            )  # fmt: skip
    axes.set_xlabel(
        "wrong ←   → right    ○ baseline  ● candidate" if which
        else "close ←   → clear    ○ baseline  ● candidate",
        fontsize=8,
    )  # fmt: skip


def _strip(axes: Axes, spread: GapSpread, place: float, palette: Palette, *, solid: bool) -> None:
    """Draw 90 % of the rows as a thin line, half of them as a thick one, their median as a dot."""
    at = spread.quantiles
    colour = palette.gain if solid else palette.soft
    whole: dict[str, Any] = {"color": colour, "solid_capstyle": "butt", "zorder": 2}
    axes.plot([at[_LOW], at[-1 - _LOW]], [place, place], linewidth=1.2, **whole)
    axes.plot([at[_QUARTER], at[-1 - _QUARTER]], [place, place], linewidth=5, alpha=0.55, **whole)
    axes.plot(
        at[_HALF], place, "o", markersize=6.5 if not solid else 5.5, zorder=3,
        color=palette.paper if not solid else colour,
        markeredgecolor=palette.ink if not solid else palette.paper, markeredgewidth=1.1,
    )  # fmt: skip
