"""A tab of a real browser that is clicked in as a person does: Chromium, by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from tests.browser import CHROMIUM


@contextmanager
def opened(width: int = 1280, height: int = 1000) -> Iterator[Page]:
    """Open a tab for as long as the block lasts.

    Args:
        width: Of what it shows, pixels.
        height: Likewise.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()
