from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import PythonEnvironment
from infra.engines.live import LiveServer
from infra.machine.device import detect
from infra.suite.harness.suite import HarnessSuite
from tests import tiny_model
from tests.exactness import SAMPLE, compare_checkpoint, compare_tokenizers, served
from tests.infra.scoring import checkpoints, suites
from tests.infra.scoring.comparison import LIMITS, Request, Verdict, compare, table
from tests.infra.scoring.suites import Bench
from tests.shared_servers import Served

DOCUMENTS = 2
WINDOW = 512


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> HarnessSuite:
    # One of the tasks that think aloud is enough: lm-eval takes half a second to mark an answer.
    tasks = [task for task in suites.TASKS if task.name != "gpqa_main_cot_n_shot"]
    return suites.load_suite(tmp_path_factory.mktemp("suite"), tasks)


HALF = "float16" if detect("auto").computes_float16 else "bfloat16"
"""Type in which checkpoints in float16 are served here."""


def require_equal(verdicts: list[Verdict]) -> None:
    print(table(verdicts))
    assert [verdict.name for verdict in verdicts if not verdict.equal] == []


def require_scores_of_stock(
    server: LiveServer, model: Path, suite: HarnessSuite, dtype: str
) -> None:
    assert server.record.dtype == dtype
    verdicts = list(compare_checkpoint(server, model, suite, DOCUMENTS, WINDOW))
    require_equal(verdicts)
    assert {"gsm8k, chat", "long endings", "rolling"} <= {verdict.name for verdict in verdicts}


@pytest.mark.engine
def test_scores_and_texts_are_those_of_stock(sample_server: Served, suite: HarnessSuite) -> None:
    require_scores_of_stock(sample_server.server, sample_server.model, suite, "float32")


@pytest.mark.long
@pytest.mark.engine
def test_quantized_scores_are_those_of_stock_as_every_run_serves_them(
    server_environment: PythonEnvironment, suite: HarnessSuite, tmp_path: Path
) -> None:
    """The next test holds a quantized one to stock by its last digit."""
    model = checkpoints.write_awq(SAMPLE, tmp_path / "awq")
    with served(model, "float32", server_environment, tmp_path / "server.log") as server:
        require_scores_of_stock(server, model, suite, HALF)


@pytest.mark.engine
def test_quantized_scores_are_those_of_stock_to_the_last_digit_where_every_sum_has_one_order(
    awq_server: Served,
) -> None:
    bench = Bench(awq_server.server, awq_server.model, LIMITS["float32"], window=WINDOW)
    verdicts = list(suites.by_hand(bench))
    require_equal(verdicts)
    assert {"longer than the window", "long endings", "rolling"} <= {v.name for v in verdicts}


@pytest.mark.engine
def test_whatever_the_tokenizer_does(server_environment: PythonEnvironment, tmp_path: Path) -> None:
    model = tiny_model.write(tmp_path / "tiny")
    with served(model, "float32", server_environment, tmp_path / "server.log") as server:
        require_equal(list(compare_tokenizers(server, model, tmp_path)))


class Decided:
    """A judge who knows the answer."""

    def __init__(self, tied: bool) -> None:
        self._tied = tied

    def greedy_is_tied(self, request: Request, tie: float) -> bool:
        return self._tied

    def texts_are_tied(self, request: Request, one: str, other: str, tie: float) -> bool:
        return self._tied


CHOICES = [Request(("task", 0), "context", choice) for choice in ("one", "two")]
THEIRS = [(-1.0, True), (-1.5, False)]


def seen(requests: Any, theirs: Any, ours: Any, *, tied: bool = False) -> Verdict:
    return compare("case", requests, theirs, ours, Decided(tied), LIMITS["float32"])


@pytest.mark.parametrize(
    "ours",
    [
        [(-1.002, True), (-1.5, False)],
        [(float("nan"), True), (-1.5, False)],
        [(-1.0, False), (-1.5, False)],
        [(-1.5, True), (-1.0, False)],
        ["text", (-1.5, False)],
    ],
)
def test_one_wrong_value_is_seen(ours: Any) -> None:
    assert seen(CHOICES, THEIRS, THEIRS).equal
    verdict = seen(CHOICES, THEIRS, ours)
    assert not verdict.equal
    assert "DIFFERENT" in table([verdict])


def test_a_tie_may_be_decided_either_way() -> None:
    theirs, ours = [(-1.0, True), (-1.00005, False)], [(-1.0, False), (-0.99999, True)]
    verdict = seen(CHOICES, theirs, ours, tied=True)
    assert verdict.equal
    assert (str(verdict.picks), str(verdict.greedy)) == ("0 (2 tied)", "0 (2 tied)")
    assert seen(CHOICES, theirs, ours).greedy.real == 2
    text = [Request(("task", 0), "context", {})]
    assert seen(text, ["one"], ["two"], tied=True).equal
    assert not seen(text, ["one"], ["two"]).equal
