"""Runs an oracle over every task, before any model is scored.

An oracle answers every question rightly, and must score 1.0, or a loss of 0. If it does not, rows
do not fit the task, or the questions that are asked are not the ones that are marked, and scores
would mean nothing.

Imports lm-eval; whoever must be quick imports this late.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.evaluator import evaluate

from infra.contracts.errors import DatasetError, MarkingError
from infra.contracts.specs import EvaluationSpec
from infra.suite.harness.definitions.task_faults import fault, lacks
from infra.suite.harness.part import Part
from infra.suite.harness.running.scores import metric_keys, primary_metric
from infra.suite.metrics import is_better_higher
from infra.suite.own.kind import NOT_ASKED

_PHRASES = (
    "{}",
    "The answer is {}.",
    "the answer is {}.",
    "#### {}",
    "\\boxed{{{}}}",
    "Answer: {}",
    "The best answer is {}.",
)
"""Ways to say an answer; a task's filters usually look for one of them."""

_RIGHT, _WRONG, _IRRELEVANT = (0.0, True), (-100.0, False), (-1.0, False)
_QUOTED = 5


class Oracle(LM):  # type: ignore[misc]
    """Answers each document rightly, as it is asked."""

    def __init__(self, tasks: Mapping[str, Task], phrases: Mapping[str, str]) -> None:
        super().__init__()
        self._tasks = tasks
        self._phrases = phrases

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Find the right continuation certain and every other one out of the question."""
        return [_likelihood(self._tasks[str(one.task_name)], one) for one in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Say the right answer in the phrase that the task looks for."""
        return [
            self._phrases.get(str(one.task_name), "{}").format(
                _answer(self._tasks[str(one.task_name)], one.doc)
            )
            for one in requests
        ]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Find every text certain."""
        return [0.0 for _ in requests]


def check_marking(part: Part, spec: EvaluationSpec, *, known: bool = False) -> list[str]:
    """Run an oracle over one entry of a suite, by lm-eval's own path.

    Args:
        part: The entry, loaded.
        spec: The suite.
        known: It was found right before, and nothing that decides it has changed: it is not run.

    Returns:
        A note for each task whose right answers this oracle does not have.

    Raises:
        MarkingError: Right answers are not marked right.
    """
    phrases: dict[str, str] = {}
    notes = []
    for name, task in part.tasks.items():
        phrase = _phrase(name, task, spec.seed)
        if phrase is None:
            notes.append(f"{name}: the marking was not checked; its right answers cannot be found")
        else:
            phrases[name] = phrase
    tasks = {name: part.tasks[name] for name in phrases}
    if tasks and not known:
        _run(tasks, Oracle(tasks, phrases), part.line.limit, spec)
    return notes


def _run(tasks: dict[str, Task], oracle: Oracle, limit: int | None, spec: EvaluationSpec) -> None:
    for task in tasks.values():
        task.set_fewshot_seed(spec.seed)
    try:
        results = evaluate(
            oracle, {"tasks": tasks, "groups": {}}, limit=limit, bootstrap_iters=0, log_samples=True
        )
    except Exception as error:  # of a task's own code, on a row of another shape
        if lacks(error):
            raise fault(", ".join(tasks), error) from error
        raise DatasetError(
            f"A row of {', '.join(tasks)} cannot be asked or marked: "
            f"{type(error).__name__}: {error}",
            cause="A field is empty or of another type than in the original dataset.",
            remedy="Mend the row, or leave the task out.",
        ) from error
    for name, task in tasks.items():
        result = results["results"][name]
        metric = primary_metric(task.aggregation(), metric_keys(result))
        measure, _, filter_name = metric.partition(",")
        perfect = _perfect(task, measure)
        if abs(float(result[metric]) - perfect) > 1e-9:
            missed = [
                sample["doc_id"]
                for sample in results["samples"][name]
                if sample["filter"] == filter_name
                and sample[measure] != perfect
                and not sample["doc"].get(NOT_ASKED)
            ]
            if not missed and any(one["doc"].get(NOT_ASKED) for one in results["samples"][name]):
                continue  # nobody can be right about these
            more = " and more" if len(missed) > _QUOTED else ""
            raise MarkingError(
                f"An oracle scores {result[metric]:.3f} in {metric} of {name}, not {perfect}.",
                cause="It gives every right answer. The rows have answers that the task's marking "
                "does not accept, or the task marks other documents than it asks. Missed "
                "documents, counted from 0: "
                f"{', '.join(map(str, missed[:_QUOTED]))}{more}.",
                remedy="Mend these rows, or leave the task out.",
            )


def _phrase(name: str, task: Task, seed: int) -> str | None:
    """Return the phrase in which the task accepts the answer of its first document, if any.

    Raises:
        MarkingError: The task shows examples whose own answers it does not accept.
    """
    if type(task) is not ConfigurableTask or task.OUTPUT_TYPE == "loglikelihood_rolling":
        return None
    plain = not callable(task.config.process_results)
    if task.OUTPUT_TYPE == "multiple_choice" and plain:
        return _PHRASES[0]
    task.set_fewshot_seed(seed)
    task.build_all_requests(limit=1)
    first = list(task.instances)
    if (phrase := _accepted(task, first)) is not None:
        return phrase
    shots = task.config.fewshot_config
    if (
        task.OUTPUT_TYPE == "generate_until"
        and plain
        and next(iter(task.aggregation()), None) == "exact_match"
        and task.config.num_fewshot
        and shots.samples is None
        and shots.doc_to_target == task.config.doc_to_target
    ):
        raise MarkingError(
            f"{name} does not accept the answers that its own worked examples show.",
            cause=f"The answer of the first row is {_answer(task, first[0].doc)[-80:]!r}, which "
            "its filters cannot read.",
            remedy="Write the answers of the rows as the original dataset does.",
        )
    return None


def _accepted(task: ConfigurableTask, requests: list[Instance]) -> str | None:
    """Return the first phrase whose answers to one document are right, marked on that document."""
    name, kind = str(requests[0].task_name), requests[0].request_type
    attempts = {phrase: [copy.copy(request) for request in requests] for phrase in _PHRASES}
    with suppress(Exception):  # of a task's own code, on an answer that it did not expect
        for phrase, attempt in attempts.items():
            answers = getattr(Oracle({name: task}, {name: phrase}), kind)(attempt)
            for request, answer in zip(attempt, answers, strict=True):
                request.resps, request.filtered_resps = [answer] * (request.repeats or 1), {}
        for ensemble in task._filters:  # some filters take seconds a call, so all go at once
            ensemble.apply([request for attempt in attempts.values() for request in attempt])
        for phrase, attempt in attempts.items():
            marks = {
                f"{metric},{name}": value
                for name in attempt[0].filtered_resps
                for metric, value in task.process_results(
                    attempt[0].doc, [request.filtered_resps[name] for request in attempt]
                ).items()
            }
            metric = primary_metric(task.aggregation(), marks)
            if marks.get(metric) == _perfect(task, metric.partition(",")[0]):
                return phrase
    return None


def _perfect(task: Task, metric: str) -> float:
    """Return what right answers score: 1, and of a loss 0."""
    return 1.0 if is_better_higher(metric, task.higher_is_better().get(metric)) else 0.0


def _likelihood(task: ConfigurableTask, request: Instance) -> tuple[float, bool]:
    if task.OUTPUT_TYPE != "multiple_choice":
        return _RIGHT
    choices = task.doc_to_choice(request.doc)
    if request.idx >= len(choices):
        return _IRRELEVANT  # of a choice without its question, for mutual information
    read = task.doc_to_text if task.multiple_input else task.doc_to_target
    gold = read(request.doc)
    right = gold if isinstance(gold, list) else [gold]
    return _RIGHT if request.idx in right or choices[request.idx] in right else _WRONG


def _answer(task: ConfigurableTask, doc: dict[str, Any]) -> str:
    target = task.doc_to_target(doc)
    if task.config.doc_to_choice is not None:
        target = task.doc_to_choice(doc)[target]
    return str(target[0] if isinstance(target, list) and target else target)
