"""The figure of several candidates: loss against size, and loss against speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from infra.contracts import wording
from infra.contracts.records import Report
from infra.report.figures import LIGHT, Kind, Layout, Palette, image
from infra.report.ranking import Standing, standings, undominated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Shown: TypeAlias = tuple[Standing, float, float]
"""An arm, its loss in points, and what it is drawn against."""

_LINE, _LETTER, _GAP, _MARK = 9.5, 4.6, 6.0, 4.0
"""Height of a name, width of a letter, room beside a mark, half of a mark; in points."""


def draw(
    report: Report, *, layout: Layout = "wide", palette: Palette = LIGHT, kind: Kind = "svg"
) -> bytes | None:
    """Return the figure; none if fewer than two arms have a loss in points."""
    panels = _panels(report)
    if len(panels[0][2]) < 2:
        return None
    return image(partial(_figure, panels, layout, palette), palette, kind)


def describe(report: Report) -> str:
    """Return in words what the figure shows, for who cannot see it."""
    return "; ".join(
        f"{title}: {', '.join(one.name for one in _best(points, less))} "
        f"{'is' if len(_best(points, less)) == 1 else 'are'} outdone by none in both"
        for title, less, points in _panels(report)
        if len(points) > 1
    )


_Panel: TypeAlias = tuple[str, bool, list[_Shown]]
"""Title, whether less of it is better, the arms."""


def _panels(report: Report) -> list[_Panel]:
    arms = [one for one in standings(report) if one.loss is not None]

    def shown(value: Callable[[Standing], float | None]) -> list[_Shown]:
        return [
            (one, one.loss[0], found)
            for one in arms
            if one.loss is not None and (found := value(one)) is not None
        ]

    return [
        ("Weights on disk", True, shown(lambda one: one.size_bytes)),
        ("Written tokens a second", False, shown(lambda one: one.tokens_per_second)),
    ]


def _best(points: Sequence[_Shown], less: bool) -> list[Standing]:
    marks = undominated([(loss, value if less else -value) for _, loss, value in points])
    return [one for (one, _, _), best in zip(points, marks, strict=True) if best]


def _figure(panels: Sequence[_Panel], layout: Layout, palette: Palette) -> Figure:
    from matplotlib.figure import Figure

    panels = [panel for panel in panels if len(panel[2]) > 1]
    wide = layout == "wide"
    columns = len(panels) if wide else 1
    rows = 1 if wide else len(panels)
    figure = Figure(figsize=(7.6 if wide else 3.9, 3.4 * rows), layout="constrained")
    drawn = []
    for place, panel in enumerate(panels):
        drawn.append(axes := figure.add_subplot(rows, columns, place + 1))
        _panel(axes, panel, palette)
    figure.supxlabel(
        "● outdone by none in both", fontsize=8, color=palette.soft, x=0.98, ha="right"
    )
    figure.draw_without_rendering()  # which says how large the panels are
    for axes, (_, _, points) in zip(drawn, panels, strict=True):
        _name(figure, axes, points, palette)
    return figure


def _panel(axes: Axes, panel: _Panel, palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter

    title, less, points = panel
    best = _best(points, less)
    show = wording.size if less else wording.number
    for one, loss, value in points:
        colour = {"PASS": palette.gain, "FAIL": palette.loss}.get(one.status, palette.unclear)
        if one.loss is not None and not one.is_baseline:
            ends = [[max(loss - one.loss[1], 0.0)], [max(one.loss[2] - loss, 0.0)]]
            axes.errorbar(value, loss, yerr=ends, fmt="none", ecolor=palette.grid, elinewidth=1.4)
        face = colour if one in best else palette.paper
        axes.plot(value, loss, "o", markersize=7, color=face, markeredgecolor=colour,
                  markeredgewidth=1.5, zorder=3)  # fmt: skip
    words: dict[str, Any] = {"fontsize": 9, "fontweight": "bold", "color": palette.ink}
    axes.set_title(f"{title} {'←' if less else '→'}", loc="left", pad=6, **words)
    axes.set_ylabel("loss, points ↓", fontsize=8)
    axes.margins(x=0.22, y=0.16)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: show(x) if x > 0 else ""))
    axes.tick_params(labelsize=7.5, length=0)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(color=palette.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _name(figure: Figure, axes: Axes, points: Sequence[_Shown], palette: Palette) -> None:
    box, scale = axes.get_window_extent(), 72 / figure.dpi
    found = axes.transData.transform([(value, loss) for _, loss, value in points])
    marks = [((x - box.x0) * scale, (y - box.y0) * scale) for x, y in found]
    places = name_places(marks, [one.name for one, _, _ in points], box.width * scale)
    for (one, loss, value), mark, (x, y) in zip(points, marks, places, strict=True):
        offset = (x - mark[0], y - mark[1])
        line = {
            "arrowstyle": "-", "color": palette.soft, "linewidth": 0.5, "shrinkA": 0,
            "relpos": (0 if offset[0] > 0 else 1, 0.5),
        }  # fmt: skip
        name = axes.annotate(
            one.name, (value, loss), xytext=offset, textcoords="offset points", fontsize=7.5,
            color=palette.ink, va="center", ha="left" if offset[0] > 0 else "right",
            arrowprops=line if abs(offset[1]) >= _LINE else None,
        )  # fmt: skip
        name.set_in_layout(False)  # the panels keep their size


def name_places(
    marks: Sequence[tuple[float, float]], names: Sequence[str], width: float
) -> list[tuple[float, float]]:
    """Return where each name begins beside its mark, or ends; it covers no other and no mark.

    Args:
        marks: Places of the marks, in points.
        names: Their names.
        width: Of the panel, in points.

    Returns:
        For each the end that is next to the mark, at half its height.
    """
    taken = [(x - _MARK, x + _MARK, y) for x, y in marks]
    named: list[tuple[float, float, float]] = []
    found: dict[int, tuple[float, float]] = {}
    for place in sorted(range(len(marks)), key=lambda at: -marks[at][1]):
        (x, y), length = marks[place], _LETTER * len(names[place])
        before = x + _GAP + length > width and x > width / 2
        start, end = (x - _GAP - length, x - _GAP) if before else (x + _GAP, x + _GAP + length)
        beside = [at for first, last, at in taken if first < end and start < last]
        # At the height of the mark, or as little lower as there is room: so names keep the order.
        top = min([at - _LINE for first, last, at in named if first < end and start < last] + [y])
        heights = [at for at in (top, *(at - _LINE for at in beside)) if at <= top]
        free = [at for at in heights if all(abs(at - other) >= _LINE - 0.01 for other in beside)]
        height = max(free)
        taken.append((start, end, height))
        named.append((start, end, height))
        found[place] = (end if before else start, height)
    return [found[place] for place in range(len(marks))]
