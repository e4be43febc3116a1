"""The same asked as the `lm_eval` command line asks it, for comparison."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager

from infra.contracts.records import TaskScores
from infra.suite.harness.libraries.quiet import quiet
from infra.suite.harness.suite import HarnessSuite
from tests.infra.suite.harness.completions_server import Completions


def stock(suite: HarnessSuite, name: str, server: Completions, tokenizer: Path, **more: Any) -> Any:
    """Ask as the `lm_eval` command line does, which calls this very function."""
    line = suite.parts[name].line
    with quiet():
        return simple_evaluate(
            "local-completions",
            model_args={
                "base_url": f"{server.base_url}/completions",
                "model": server.model,
                "tokenizer": str(tokenizer),
                "tokenizer_backend": "huggingface",
                "num_concurrent": 4,
                "max_length": server.window,
                "max_gen_toks": 1024,
                "header": server.headers,
            },
            tasks=[name],
            num_fewshot=line.num_fewshot,
            limit=line.limit,
            gen_kwargs={"max_gen_toks": line.max_gen_toks} if line.max_gen_toks else None,
            task_manager=TaskManager(include_path=str(suite.definitions), include_defaults=False),
            **{"fewshot_as_multiturn": False, **more},
        )


def assert_the_same(ours: TaskScores, theirs: Any) -> None:
    """Compare every metric of a task or group and of all below it, to the last digit."""
    for scores in every(ours):
        result = theirs["results"][scores.name]
        assert {key: value.value for key, value in scores.metrics.items()} == {
            key: value for key, value in result.items() if "," in key and "_stderr" not in key
        }
        for key, value in scores.metrics.items():
            assert value.stderr == stderr_of(result, key)
            assert value.n == result["sample_len"]


def every(scores: TaskScores) -> Iterator[TaskScores]:
    """Return a task or group, and all below it."""
    yield scores
    for below in scores.subtasks.values():
        yield from every(below)


def stderr_of(result: Any, metric: str) -> float | None:
    """Return lm-eval's standard error of a metric; none where it has no formula for it."""
    found = result[metric.replace(",", "_stderr,")]
    return None if found == "N/A" else float(found)
