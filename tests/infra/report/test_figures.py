"""What shows the same is drawn once; dark figures are light ones in other colours."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest

from infra.contracts.records import Pair
from infra.report import figures, gap_plot, plots, speed_plot
from infra.report.figures import DARK, LIGHT, Kind, Layout, Palette, image, in_dark
from infra.report.html import _figures
from tests.infra.made_records import with_everything
from tests.infra.made_runs import make_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = re.compile(rb'(id="|href="#|url\(#)([^")]+)')


def nameless(svg: bytes) -> bytes:
    """Return a figure whose parts are numbered: their names are digests of their colours too."""
    numbers: dict[bytes, bytes] = {}
    return _NAMES.sub(
        lambda found: found[1] + numbers.setdefault(found[2], b"%d" % len(numbers)), svg
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    made = make_run(tmp_path_factory.mktemp("run"), rows=40, kept=0.7, with_gaps=True)
    return with_everything(made).pairs[0]


@pytest.mark.parametrize("layout", ["wide", "narrow"])
@pytest.mark.parametrize(
    "draw",
    [plots.draw, gap_plot.draw, speed_plot.draw],
    ids=lambda draw: draw.__module__.rpartition(".")[-1],
)
def test_only_colours_differ(pair: Pair, draw: Callable[..., bytes | None], layout: Layout) -> None:
    light, dark = (draw(pair, layout=layout, palette=one) for one in (LIGHT, DARK))
    assert light and dark and light != dark
    assert nameless(in_dark(light)) == nameless(dark)


def test_the_page_has_both_for_each_screen(pair: Pair) -> None:
    found = _figures(partial(plots.draw, pair))
    assert {*found} == {f"{one}_{two}" for one in ("wide", "narrow") for two in ("light", "dark")}
    for name, address in found.items():
        colours, others = (LIGHT, DARK) if name.endswith("light") else (DARK, LIGHT)
        svg = b64decode(address.partition("base64,")[2]).decode()
        assert colours.paper in svg
        assert others.paper not in svg


DRAWN: list[str] = []


def titled(title: str) -> Figure:
    from matplotlib.figure import Figure

    DRAWN.append(title)
    figure = Figure(figsize=(1, 1))
    figure.text(0, 0, title)
    return figure


def test_a_figure_is_drawn_once() -> None:
    first = image(partial(titled, "once"), LIGHT, "svg")
    assert image(partial(titled, "once"), LIGHT, "svg") == first
    assert DRAWN.count("once") == 1
    figures._drawn.cache_clear()
    assert image(partial(titled, "once"), LIGHT, "svg") == first  # drawn again, to the same bytes
    assert DRAWN.count("once") == 2


@pytest.mark.parametrize(("title", "palette", "kind"), [
    ("another", LIGHT, "svg"), ("one", DARK, "svg"), ("one", LIGHT, "png"),
])  # fmt: skip
def test_another_figure_is_another_image(title: str, palette: Palette, kind: Kind) -> None:
    one = image(partial(titled, "one"), LIGHT, "svg")
    assert image(partial(titled, title), palette, kind) != one
