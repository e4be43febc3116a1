"""A real browser, to see what a page becomes on a screen: Chromium without a window."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
"""Program of the browser; none where none is installed."""

_HEIGHT = 844


class Browser:
    """One tab, spoken to over two pipes: https://chromedevtools.github.io/devtools-protocol/."""

    def __init__(self, questions: int, answers: int) -> None:
        """Open the tab.

        Args:
            questions: File descriptor that the browser reads.
            answers: File descriptor that it writes.
        """
        self._questions = os.fdopen(questions, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._left = b""
        self._number = 0
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self._ask("Page.enable")

    def open(self, page: Path, *, width: int, scheme: Literal["light", "dark"]) -> float:
        """Load a page, and return the seconds until all of it was loaded.

        Args:
            page: The file.
            width: Of the screen, in CSS pixels; below 600 that of a telephone.
            scheme: The colours that the reader prefers.
        """
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=_HEIGHT, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        prefers = [{"name": "prefers-color-scheme", "value": scheme}]
        self._ask("Emulation.setEmulatedMedia", features=prefers)
        self._ask("Page.navigate", url=page.absolute().as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass
        took = "performance.getEntriesByType('navigation')[0]"
        return float(self.evaluate(f"{took}.loadEventStart")) / 1000

    def evaluate(self, expression: str) -> Any:
        """Return what an expression of JavaScript is on the page."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def screenshot(self, into: Path, *, top: int = 0, height: int = _HEIGHT) -> None:
        """Write what the page looks like from a place on as PNG."""
        width = self.evaluate("innerWidth")
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        answer = self._ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        into.write_bytes(base64.b64decode(answer["data"]))

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        request: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            request["sessionId"] = self._session
        self._questions.write(json.dumps(request).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            read = self._answers.read(1 << 20)
            if not read:
                raise RuntimeError("the browser ended")
            self._left += read
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def close(self) -> None:
        """Close the pipes, which ends the browser."""
        self._questions.close()
        self._answers.close()


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser, and end it with the block.

    Args:
        profile: Folder for what it keeps.
    """
    assert CHROMIUM
    theirs, questions = os.pipe()
    answers, written = os.pipe()
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [
        CHROMIUM, "--headless=new", *sandbox, "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}",
        "--remote-debugging-pipe", "about:blank",
    ]  # fmt: skip
    # It asks on descriptor 3 and answers on 4.
    turn = f'exec "$@" 3<&{theirs} 4>&{written}'
    process = subprocess.Popen(
        ["bash", "-c", turn, "bash", *command], pass_fds=(theirs, written),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    os.close(written)
    try:
        tab = Browser(questions, answers)
        yield tab
        tab.close()
    finally:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
