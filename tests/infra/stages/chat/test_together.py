"""Two real engines, the real page, a real browser; and nothing left however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import Page, expect

from infra.contracts.records import PythonEnvironment
from infra.contracts.specs import ServingChanges
from infra.report.receipt.contents import check_files
from infra.stages.chat.votes import read
from tests import chat_runs, sample_gguf, tab
from tests.browser import CHROMIUM
from tests.conftest import ROOT
from tests.process_marks import command_lines, lives

pytestmark = pytest.mark.engine
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

PATIENCE = 300_000
"""Milliseconds: on a busy machine everything takes long."""


class Chat:
    """The command under way."""

    def __init__(self, process: subprocess.Popen[str], leases: Path, said: Path) -> None:
        self.process = process
        self._leases = leases
        self._said = said
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("chat: "), self.said
        self.url = line.split()[1]
        self.tree = psutil.Process(process.pid).children(recursive=True)

    @property
    def said(self) -> str:
        return self._said.read_text()

    def running(self, word: str) -> psutil.Process:
        """Return the process with a word on its command line that no supervisor is."""
        found = [
            one for one in self.tree
            if any(word in part for part in one.cmdline())
            and not any("supervise.py" in part for part in one.cmdline())
        ]  # fmt: skip
        return found[0]

    def ended(self) -> int:
        """Wait for the end and return the exit code, after a look at what is left."""
        code = self.process.wait(120)
        deadline = time.monotonic() + 60
        while left := [one for one in self.tree if lives(one)]:
            assert time.monotonic() < deadline, command_lines(left)
            time.sleep(0.1)
        return code

    def leases(self) -> list[Path]:
        return list(self._leases.glob("*.json"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on llama.cpp, whose server is up in a second."""
    folder = tmp_path_factory.mktemp("runs")
    for name, half in (("whole", False), ("half", True)):
        sample_gguf.write(folder / name, half=half)
    chat_runs.finished(
        folder / "run-1", folder / "whole", folder / "half", serving=chat_runs.LLAMACPP
    )
    return folder / "run-1"


@contextmanager
def chat_of(run: Path, *more: str) -> Iterator[Chat]:
    leases, said = run.with_name(f"{run.name}-leases"), run.with_name(f"{run.name}.txt")
    command = [sys.executable, "-m", "deployments", "chat", str(run), *more]
    with said.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=output, text=True,
            env={**os.environ, "ASSAY_LEASES": str(leases)},
        )  # fmt: skip
    with process:
        try:
            yield Chat(process, leases, said)
        finally:
            process.terminate()


def say(page: Page, text: str) -> None:
    page.locator("#box textarea").fill(text)
    page.locator("#send").click()


@in_a_browser
def test_both_answer_side_by_side_and_a_vote_is_kept(
    tmp_path: Path,
    server_environment: PythonEnvironment,
    llamacpp_environment: PythonEnvironment,
    chat_environment: PythonEnvironment,
) -> None:
    """The baseline on vLLM, the candidate on llama.cpp."""
    run = tmp_path / "run-1"
    half = sample_gguf.write(tmp_path / "half", half=True)
    report = chat_runs.finished(run, candidate=half, changes=ServingChanges(engine="llamacpp"))
    with chat_of(run, "--blind") as chat, tab.opened() as page:
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        hosts: set[str | None] = set()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(chat.url)
        expect(page.locator("#preference")).to_contain_text("No votes yet.")

        page.locator("#lost tbody tr").first.click()
        expect(page.locator("#box textarea")).to_have_value(re.compile("Question: "))
        expect(page.locator("#about-row")).to_contain_text("not shown in blind mode")
        page.locator("#blind input").uncheck()
        page.locator("#lost tbody tr").first.click()
        expect(page.locator("#about-row dl")).to_contain_text("baseline")
        page.locator("#blind input").check()

        page.locator("#temperature input[type=number]").fill("1.5")
        page.locator("#temperature input[type=number]").press("Enter")
        say(page, "How many apples are there?")
        answers = page.locator("#current .answer")
        for place in range(2):
            expect(answers.nth(place).locator(".text")).not_to_be_empty()
        expect(page.locator("#vote-a")).to_be_visible()
        assert page.locator("#current mark").count() > 0
        texts = answers.locator(".text").all_inner_texts()
        assert "baseline" not in page.locator("#current").inner_html()

        # Both before the page hears of either: the one that arrives first counts, and is shown.
        page.evaluate(
            "for (const one of ['a', 'b']) document.getElementById(`vote-${one}`).click()"
        )
        foot = page.locator("#current .foot")
        expect(foot).to_contain_text("Your vote: ")
        shown = foot.inner_text()
        page.reload()
        expect(page.locator("#preference")).to_contain_text("1 vote:")
        assert hosts == {"127.0.0.1"}

        chat.process.send_signal(signal.SIGTERM)
        assert chat.ended() == 0
        assert chat.leases() == []
    [vote] = read(run / "chat" / "votes.jsonl")
    assert vote.preferred is not None
    name = {"baseline": "baseline", "candidate": chat_runs.CANDIDATE}[vote.preferred]
    assert shown.strip() == f"Your vote: {vote.vote}, {name}."
    assert vote.message == "How many apples are there?"
    assert [vote.answers[vote.sides[place]].strip() for place in ("A", "B")] == [
        text.strip() for text in texts
    ]
    assert vote.settings["temperature"] == 1.5
    assert vote.candidate == chat_runs.CANDIDATE
    document = json.loads((run / "report.json").read_text())
    assert report.receipt is not None
    assert check_files(document, run).wrong == ()


@in_a_browser
def test_the_page_says_that_an_engine_ended(
    small: Path, llamacpp_environment: PythonEnvironment, chat_environment: PythonEnvironment
) -> None:
    with chat_of(small) as chat, tab.opened() as page:
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.goto(chat.url)
        say(page, "Hello?")
        names = page.locator("#current .name")
        expect(names).to_have_text(["baseline", chat_runs.CANDIDATE])
        expect(page.locator("#send")).to_be_visible()
        chat.running(f"{chat_runs.CANDIDATE}-").kill()
        say(page, "And now?")
        said = page.locator("#current .candidate .error")
        expect(said).to_contain_text("The engine of the candidate has ended")
        expect(page.locator("#notices")).to_contain_text("The engine of the candidate has ended")
        assert chat.ended() == 1
        assert "killed by SIGKILL" in chat.said
        assert chat.leases() == []


def test_the_end_of_the_page_ends_everything(
    small: Path, llamacpp_environment: PythonEnvironment, chat_environment: PythonEnvironment
) -> None:
    with chat_of(small) as chat:
        chat.running("page.py").kill()
        assert chat.ended() == 1
        assert "The page ended by itself: killed by SIGKILL" in chat.said
        assert chat.leases() == []


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGHUP, marks=pytest.mark.long),  # as SIGTERM, which is sent above
        signal.SIGKILL,
    ],
)
def test_nothing_is_left_however_it_is_ended(
    number: signal.Signals,
    small: Path,
    llamacpp_environment: PythonEnvironment,
    chat_environment: PythonEnvironment,
) -> None:
    with chat_of(small) as chat:
        chat.process.send_signal(number)
        code = chat.ended()
        if number is signal.SIGKILL:  # its record is swept by whoever computes next
            assert code == -number
        else:
            assert (code, chat.leases()) == (0, [])
