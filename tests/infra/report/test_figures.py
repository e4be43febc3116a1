"""Dark figures are light ones in other colours, and nothing else."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from functools import partial

import pytest

from infra.contracts.records import Pair
from infra.report import gap_plot, plots, speed_plot
from infra.report.figures import DARK, LIGHT, Layout, in_dark
from infra.report.html import _figures
from tests.infra.made_records import with_everything
from tests.infra.made_runs import make_run

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
    figures = _figures(partial(plots.draw, pair))
    assert {*figures} == {f"{one}_{two}" for one in ("wide", "narrow") for two in ("light", "dark")}
    for name, address in figures.items():
        colours, others = (LIGHT, DARK) if name.endswith("light") else (DARK, LIGHT)
        svg = b64decode(address.partition("base64,")[2]).decode()
        assert colours.paper in svg
        assert others.paper not in svg
