"""What the page becomes on a real screen: nothing of it is wider than the screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from infra.report.html import render
from tests.browser import CHROMIUM, Browser, browser
from tests.infra.made_records import with_everything
from tests.infra.made_runs import make_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

_BEYOND = """[...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > WIDTH)
    .slice(0, 3).map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return pages of one candidate, and of several with one that came to no result."""
    found = {}
    for name, candidates, failed in (
        ("one", 1, {}),
        ("several", 5, {"candidate-5": "It ran out of memory at /cache/" + 30 * "a-long-name"}),
    ):
        folder = tmp_path_factory.mktemp(name)
        report = make_run(
            folder, rows=40, kept=0.7, candidates=candidates, failed=failed, with_gaps=True
        )
        found[name] = folder / "report.html"
        found[name].write_text(render(with_everything(report), folder), encoding="utf-8")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("page", ["one", "several"])
def test_a_page_is_as_wide_as_its_screen(
    tab: Browser, pages: dict[str, Path], page: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    tab.open(pages[page], width=width, scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    # A telephone would zoom out, and its window be as wide as the page.
    needed = tab.evaluate("Math.max(innerWidth, document.documentElement.scrollWidth)")
    assert needed <= width, tab.evaluate(_BEYOND.replace("WIDTH", str(width)))
    dark = tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark is (scheme == "dark")
