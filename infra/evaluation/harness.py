"""Runs lm-eval on one part of the exam against a live server."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infra.contracts.errors import AssayError, EvaluationError
from infra.contracts.records import TaskScores
from infra.evaluation.narrowing import Documents, narrowed
from infra.evaluation.quiet import quiet, ticking
from infra.evaluation.samples import sample_rows, write_rows
from infra.evaluation.scores import task_scores
from infra.progress import Progress

if TYPE_CHECKING:
    from infra.evaluation.exam import AnswerFile, Exam, Server

_PYTHON_SEED, _NUMPY_SEED = 0, 1234
"""As lm-eval's `simple_evaluate` sets them."""


def evaluate(
    exam: Exam,
    name: str,
    server: Server,
    tokenizer_path: Path,
    samples: Path,
    progress: Progress,
    answers: AnswerFile | None = None,
    *,
    order: int | None = None,
    only: Documents | None = None,
) -> TaskScores:
    """Ask one part of the exam and return its scores; see `Exam.evaluate`."""
    spec, part = exam.spec, exam.parts[name]
    started = time.monotonic()
    with quiet():
        from lm_eval import evaluator

        from infra.evaluation.client import build_model

        server.raise_if_dead()
        model = build_model(
            server,
            tokenizer_path,
            concurrency=spec.concurrency,
            seed=spec.seed,
            answers=answers,
            order=order,
            say=progress.say,
        )
        if spec.chat_template and not model.tokenizer.chat_template:
            raise EvaluationError(
                f"The tokenizer in {tokenizer_path} has no chat template.",
                remedy="Set evaluation.chat_template to False, or add the model's template.",
            )
        for task in part.tasks.values():
            task.set_fewshot_seed(spec.seed)
        with (
            _seeded(),
            closing(model),
            ticking(progress, name, lambda: (model.done, model.total or None), "documents"),
            _explained(name, server),
            narrowed(part.tasks, only),
        ):
            results = evaluator.evaluate(
                model,
                part.loaded,
                limit=part.line.limit,
                log_samples=True,
                system_instruction=spec.system_instruction,
                apply_chat_template=spec.chat_template,
                fewshot_as_multiturn=spec.fewshot_as_multiturn,
            )
    progress.update(name, model.done, model.total, "documents")
    rows = sample_rows(results["samples"], model.finishes)
    write_rows(samples, rows)
    return task_scores(
        name,
        results,
        part.loaded,
        rows,
        dataset={
            leaf.name: f"{leaf.dataset} from {exam.rows[leaf.source].origin}"
            for leaf in part.entry.leaves
            if leaf.source
        },
        conditions={
            "limit": part.line.limit,
            "max_gen_toks": part.line.max_gen_toks,
            "chat_template": spec.chat_template,
            "fewshot_as_multiturn": spec.fewshot_as_multiturn,
            "system_instruction": spec.system_instruction,
            "seed": spec.seed,
        },
        samples=samples.name,
        seconds=round(time.monotonic() - started, 2),
    )


@contextmanager
def _explained(name: str, server: Server) -> Iterator[None]:
    """Turn what the client raises into an error that says what the server did."""
    try:
        yield
    except AssayError as error:
        if isinstance(error, EvaluationError):
            raise
        raise EvaluationError(
            f"The server died while it was asked {name}. {error.fact}",
            cause=error.cause,
            remedy=error.remedy,
            **{**error.facts, "task": name},
        ) from error
    except Exception as error:
        with _explained(name, server):
            server.raise_if_dead()
        raise EvaluationError(
            f"{name} could not be asked: {type(error).__name__}: {str(error)[:300]}",
            remedy="Read the server's log for what went wrong there.",
            task=name,
        ) from None  # the exception may hold the headers of a request


@contextmanager
def _seeded() -> Iterator[None]:
    """Set the generators as the stock command line does, and put them back."""
    import numpy as np

    before = random.getstate(), np.random.get_state()
    random.seed(_PYTHON_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
