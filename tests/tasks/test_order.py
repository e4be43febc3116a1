"""Prefect draws a task behind those whose results it needs, and behind no others."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from infra.contracts.records.record import Record
from tasks.order import Order
from tasks.outcomes import outcome

pytestmark = pytest.mark.usefixtures("prefect")


def lines(run: str, last: str) -> set[tuple[str, str]]:
    """Return which task is drawn behind which, once the last one is there.

    Prefect learns of tasks by events, some seconds later.
    """
    deadline = time.monotonic() + 60
    while True:
        with get_client(sync_client=True) as client:
            graph: dict[str, Any] = client.request(
                "GET", "/flow_runs/{id}/graph-v2", path_params={"id": run}
            ).json()
        nodes = dict(graph["nodes"])
        found = {
            (nodes[parent["id"]]["label"], node["label"])
            for node in nodes.values()
            for parent in node["parents"]
        }
        if any(behind == last for _, behind in found):
            return found
        assert time.monotonic() < deadline, graph
        time.sleep(0.5)


class Made(Record):
    name: str
    by: str = "somebody"


class Pair(NamedTuple):
    one: Made
    other: Made


@task(task_run_name="{name}")
def make(name: str, *used: object, reused: bool = False) -> Made:
    assert all(isinstance(one, str | Made | Pair) for one in used)
    return outcome(Made(name=name), reused=reused)


@flow
def knot() -> str:
    order = Order()
    run = make("run")
    one = order.after([run], make)("one", run, reused=True)
    two = order.after([run], make)("two", run, one, one.by)
    both = order.together(Pair(one, two), [one, two])
    three = order.after([both], make)("three", run, both)
    order.after([one, three, run], make)("four", run, one, two, three)
    return str(flow_run.id)


def test_a_line_is_drawn_for_what_is_needed_and_nothing_else() -> None:
    assert lines(knot(), "four") == {
        ("run", "one"), ("run", "two"), ("one", "three"), ("two", "three"), ("three", "four")
    }  # fmt: skip
