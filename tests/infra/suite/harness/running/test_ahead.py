from __future__ import annotations

import decimal
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Silent
from infra.contracts.specs import TaskSpec
from infra.contracts.specs.evaluation import SamplingSpec
from infra.store.settings import Settings
from infra.suite.harness.libraries.quiet import quiet
from infra.suite.harness.running.evaluate import _put
from infra.suite.harness.running.model import ServedModel, build_model
from infra.suite.harness.suite import HarnessSuite, prepare
from tests.infra.suite.harness import own_tasks
from tests.infra.suite.harness.completions_server import Completions, Status, serving
from tests.infra.suite.harness.conftest import evaluation

DRAWS = """\
import random
from pathlib import Path

import numpy

DRAWN = Path(__file__).with_name("drawn.log")

def draw():
    drawn = f"{random.random()} {numpy.random.random()}"
    with DRAWN.open("a") as file:
        print(drawn, file=file)
    return drawn

def right(doc):  # is looked at when a row is marked
    draw()
    return doc["gold"]

def ask(doc):
    return f"{draw()} Question: {doc['q']}"
"""
"""Questions that depend on the generators which all code shares; what is drawn is listed."""
ANOTHER = "another_task"
DEFINITION = own_tasks.CODED.replace('"{{gold}}"', "!function utils.right")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., HarnessSuite]:
    def load(
        *tasks: TaskSpec, utils: str = DRAWS, rows: int = 6, coded: bool = False, **fields: Any
    ) -> HarnessSuite:
        folder = own_tasks.write(tmp_path / "own", DEFINITION, utils_py=utils)
        another = DEFINITION.replace(own_tasks.NAME, ANOTHER)
        (folder / f"{ANOTHER}.yaml").write_text(another)
        own_tasks.write_rows(folder / "rows.jsonl", own_tasks.rows(count=rows))
        spec = evaluation(*tasks, include_path=str(folder), **fields)
        suite = prepare(spec, settings=Settings(cache=tmp_path / "cache"), progress=Silent())
        if not coded:  # as if it were lm-eval's: what the user's own draws is another matter
            parts = {name: replace(part, coded=False) for name, part in suite.parts.items()}
            suite = replace(suite, parts=parts)
        drawn(tmp_path).unlink(missing_ok=True)
        return suite

    return load


def drawn(tmp_path: Path) -> Path:
    return tmp_path / "own" / "drawn.log"


def asked(suite: HarnessSuite, tokenizer: Path, folder: Path, *, ahead: bool) -> dict[str, Any]:
    """Ask all tasks in turn; return all that was sent, and the rows of each task."""
    folder.mkdir()
    with serving(Completions()) as server:
        for name, following in zip_longest(suite.names, suite.names[1:]):
            suite.ask(
                name, server, tokenizer, folder / name, Silent(),
                following=following if ahead else None,
            )  # fmt: skip
        sent = sorted(json.dumps(body, sort_keys=True) for body in server.requests)
    return {"sent": sent} | {name: (folder / name).read_text() for name in suite.names}


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
def test_questions_and_rows_are_those_of_tasks_put_together_one_by_one(
    chat: bool, load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    suite = load(
        TaskSpec(name="gpqa_main_zeroshot", limit=3),
        TaskSpec(name=own_tasks.NAME),
        TaskSpec(name=ANOTHER),
        TaskSpec(name="gsm8k", limit=3, sampling=SamplingSpec(repeats=2, temperature=0.7)),
        TaskSpec(name="global_mmlu_en", limit=2, num_fewshot=3),
        chat_template=chat,
    )
    one_by_one = asked(suite, tokenizer, tmp_path / "one", ahead=False)
    numbers = drawn(tmp_path).read_text().splitlines()
    drawn(tmp_path).unlink()
    assert asked(suite, tokenizer, tmp_path / "other", ahead=True) == one_by_one
    assert sorted(drawn(tmp_path).read_text().splitlines()) == sorted(numbers)


def slowly(seconds: float) -> str:
    """Return code that takes so long for each question, while there is a file."""
    return DRAWS.replace(
        "def ask(doc):",
        "def ask(doc):\n    import time\n"
        f"    time.sleep({seconds} if DRAWN.with_name('slow.log').is_file() else 0)",
    )


def put_ahead(suite: HarnessSuite, server: Completions, tokenizer: Path, times: int = 1) -> None:
    """Put the user's task together as beside one whose answers are there at once."""
    part, put = suite.parts[own_tasks.NAME], partial(_put, spec=suite.spec)
    with quiet():
        model = build_model(server, tokenizer, suite.spec, answers=None, say=print)
        assert isinstance(model, ServedModel)
        for _ in range(times):
            with suite._ahead.put_together(part, model, suite.spec.seed, put):
                pass


FIRST = TaskSpec(name="gpqa_main_zeroshot", limit=3)


def test_a_task_is_put_together_while_the_answers_to_another_are_awaited(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    suite = load(FIRST, TaskSpec(name=own_tasks.NAME))
    there = []

    def wait(number: int, body: dict[str, Any]) -> None:
        if number == 2:  # after the one that finds out whether tokens can be chosen
            there.append(_appears(drawn(tmp_path)))

    with serving(Completions(trouble=wait)) as server:
        suite.ask(FIRST.name, server, tokenizer, tmp_path / "1", Silent(),
                  following=own_tasks.NAME)  # fmt: skip
    assert there == [True]


def _appears(path: Path) -> bool:
    end = time.monotonic() + 60
    while not path.is_file() and time.monotonic() < end:
        time.sleep(0.01)
    return path.is_file()


def test_it_is_put_together_anew_for_another_server(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    suite = load(FIRST, TaskSpec(name=own_tasks.NAME))

    def ask(name: str, following: str | None = None) -> list[str]:
        drawn(tmp_path).unlink(missing_ok=True)
        with serving(Completions()) as server:
            suite.ask(name, server, tokenizer, tmp_path / "1", Silent(), following=following)
        return drawn(tmp_path).read_text().splitlines()

    alone = ask(own_tasks.NAME)
    ahead = ask(FIRST.name, own_tasks.NAME)
    assert ahead == alone[: len(ahead)] and len(ahead) < len(alone)  # which are marked besides
    assert ask(FIRST.name, own_tasks.NAME) == ahead
    assert ask(own_tasks.NAME) == alone


def test_nobody_waits_for_questions_that_are_not_asked_any_more(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    suite = load(FIRST, TaskSpec(name=own_tasks.NAME), utils=slowly(0.1), rows=100)
    (slow := tmp_path / "own" / "slow.log").touch()
    refusing = Completions(trouble=lambda number, body: Status(400) if number > 1 else None)
    with serving(refusing) as server, pytest.raises(EvaluationError, match="could not be asked"):
        suite.ask(FIRST.name, server, tokenizer, tmp_path / "1", Silent(),
                  following=own_tasks.NAME)  # fmt: skip
    assert len(drawn(tmp_path).read_text().splitlines()) < 100
    slow.unlink()
    with serving(Completions()) as server:
        scores = suite.ask(own_tasks.NAME, server, tokenizer, tmp_path / "2", Silent())
    assert scores.n == 100


def failing(file: str, *lines: str) -> str:
    """Return code that asks, and does as these lines say once a file is there.

    Loading it puts questions as well, and these go well.
    """
    told = "".join(f"\n        {line}" for line in lines)
    begin = f"def ask(doc):\n    if (file := DRAWN.with_name({file!r})).is_file():"
    return DRAWS.replace("def ask(doc):", begin + told)


def test_what_fails_ahead_is_told_when_it_is_asked(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    code = failing("fail.log", "raise KeyError('no such key')")
    suite = load(FIRST, TaskSpec(name=own_tasks.NAME), utils=code)
    (tmp_path / "own" / "fail.log").touch()
    with serving(Completions()) as server:
        scores = suite.ask(FIRST.name, server, tokenizer, tmp_path / "1", Silent(),
                           following=own_tasks.NAME)  # fmt: skip
        assert scores.n == 3
        with pytest.raises(EvaluationError, match="house_task could not be put or marked: Key"):
            suite.ask(own_tasks.NAME, server, tokenizer, tmp_path / "2", Silent())


def test_what_fails_ahead_is_tried_once(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path, capfd: Any
) -> None:
    code = failing("tried.log", "file.write_text(file.read_text() + 'x')", "raise GeneratorExit")
    suite = load(FIRST, TaskSpec(name=own_tasks.NAME), utils=code)
    (tried := tmp_path / "own" / "tried.log").touch()
    with serving(Completions()) as server:
        put_ahead(suite, server, tokenizer, times=3)  # as beside a part that asks in three ways
    assert tried.read_text() == "x"
    assert capfd.readouterr().err == ""


def test_code_of_the_user_s_own_is_not_put_ahead(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    suite = load(FIRST, TaskSpec(name=own_tasks.NAME), coded=True)
    with serving(Completions()) as server:
        suite.ask(FIRST.name, server, tokenizer, tmp_path / "1", Silent(),
                  following=own_tasks.NAME)  # fmt: skip
    assert not drawn(tmp_path).exists()


CONTEXT = """\
import decimal

decimal.getcontext().prec = 50

def right(doc):
    return doc["gold"]

def ask(doc):
    return f"{decimal.Decimal(1) / 7} Question: {doc['q']}"
"""


def test_the_context_of_the_thread_is_the_same(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    precision = decimal.getcontext().prec
    try:
        suite = load(FIRST, TaskSpec(name=own_tasks.NAME), utils=CONTEXT)
        one = asked(suite, tokenizer, tmp_path / "one", ahead=False)
        assert asked(suite, tokenizer, tmp_path / "other", ahead=True) == one
    finally:
        decimal.getcontext().prec = precision


def test_nothing_goes_on_after_ctrl_c(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    """Which comes when the last answer is there, and the next task is still put together."""
    suite = load(FIRST, TaskSpec(name=own_tasks.NAME), utils=slowly(0.05), rows=200)
    (tmp_path / "own" / "slow.log").touch()
    interrupt = threading.Timer(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with serving(Completions()) as server, pytest.raises(KeyboardInterrupt):
        interrupt.start()
        suite.ask(FIRST.name, server, tokenizer, tmp_path / "1", Silent(),
                  following=own_tasks.NAME)  # fmt: skip
    lines = drawn(tmp_path).read_text()
    time.sleep(0.5)
    assert 0 < len(lines.splitlines()) < 200
    assert drawn(tmp_path).read_text() == lines


def test_where_another_task_waits_for_one_it_is_that_one_s_time(
    load: Callable[..., HarnessSuite], tokenizer: Path, tmp_path: Path
) -> None:
    suite = load(FIRST, TaskSpec(name=own_tasks.NAME), utils=slowly(0.3))
    (slow := tmp_path / "own" / "slow.log").touch()
    with serving(Completions()) as server:
        put_ahead(suite, server, tokenizer)
        slow.unlink()
        assert (awaited := suite._ahead.awaited) >= 6 * 0.3
        scores = suite.ask(own_tasks.NAME, server, tokenizer, tmp_path / "2", Silent())
    assert scores.seconds >= round(awaited, 2)
    assert suite._ahead.awaited == 0
