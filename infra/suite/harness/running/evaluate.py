"""Runs lm-eval on one part of a suite against a live server."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from infra.contracts.errors import AssayError, EvaluationError, ServerError
from infra.contracts.progress import Progress
from infra.contracts.records import TaskScores
from infra.contracts.specs import EvaluationSpec
from infra.engines.embeddings import Embedder
from infra.engines.endpoint import Endpoint
from infra.machine.garbage import uncollected
from infra.suite.harness.libraries.quiet import quiet, ticking
from infra.suite.harness.part import Part
from infra.suite.harness.rows.sources import Rows
from infra.suite.harness.running.ahead import Ahead
from infra.suite.harness.running.narrowing import narrowed
from infra.suite.harness.running.samples import sample_rows
from infra.suite.harness.running.scores import task_scores
from infra.suite.harness.running.seeds import seeded
from infra.suite.port import AnswerFile
from infra.suite.rows import Documents, write_rows


def evaluate(
    part: Part,
    spec: EvaluationSpec,
    found: Mapping[str, Rows],
    server: Endpoint,
    tokenizer_path: Path | None,
    samples: Path,
    progress: Progress,
    answers: AnswerFile | None = None,
    *,
    order: int | None = None,
    only: Documents | None = None,
    trust_remote_code: bool = False,
    embedder: Embedder | None = None,
    ahead: Ahead,
    following: Part | None = None,
) -> TaskScores:
    """Ask one part of a suite and return its scores; see `infra.suite.port.Suite.ask`."""
    name, sampling = part.entry.name, part.line.sampling
    times = sampling.repeats if sampling else None
    started = time.monotonic()
    with quiet():
        from lm_eval import evaluator

        from infra.suite.harness.running.model import ServedModel, build_model
        from infra.suite.harness.running.ranked import ranked
        from infra.suite.harness.running.repeats import repeated

        server.raise_if_dead()
        with _explained(name, server):
            model = build_model(
                server,
                tokenizer_path,
                spec,
                answers=answers,
                order=order,
                trust_remote_code=trust_remote_code,
                say=progress.say,
            )
        put = partial(_put, spec=spec)
        if following is not None and following is not part and isinstance(model, ServedModel):
            model.meanwhile = partial(ahead.put_together, following, model, spec.seed, put)
        # Else lm-eval looks for images in all that was asked and answered, for seconds.
        evaluator.LMEVAL_HASHMM = part.coded or any(map(_may_hold_images, part.tasks.values()))
        with (
            uncollected(),
            seeded(),
            closing(model),
            ticking(progress, name, lambda: (model.done, model.total or None), "documents"),
            _explained(name, server),
            ahead.used(part, model) as awaited,
            narrowed(part.tasks, only),
            repeated(part.tasks, times),
            ranked(part, embedder, spec.seed),
        ):
            for task in part.tasks.values() if awaited is None else ():
                task.set_fewshot_seed(spec.seed)
            results = put(model, part)
        for task in part.tasks.values():
            task._instances = None  # they hold all prompts
    progress.update(name, model.done, model.total, "documents")
    rows = sample_rows(results["samples"], model.finishes, spec.thinking, times)
    write_rows(samples, rows)
    return task_scores(
        name,
        results,
        part.loaded,
        rows,
        dataset={
            leaf.name: f"{leaf.dataset} from {found[leaf.source].origin}"
            for leaf in part.entry.leaves
            if leaf.source
        },
        conditions={
            "definition": part.definition[:16],
            "limit": part.line.limit,
            "max_gen_toks": part.line.max_gen_toks,
            **({"sampling": sampling.model_dump()} if sampling else {}),
            "chat_template": spec.chat_template,
            "fewshot_as_multiturn": spec.fewshot_as_multiturn,
            "system_instruction": spec.system_instruction,
            "seed": spec.seed,
            "chat_template_kwargs": spec.chat_template_kwargs,
            **({"thinking": spec.thinking.model_dump()} if spec.thinking else {}),
            "moment": str(spec.moment),
            "add_bos_token": spec.add_bos_token,
            "prompts_begin_with": model.prompts_begin_with,
            **({"embedding": embedder.identity[:16]} if embedder and part.embeds else {}),
        },
        samples=samples.name,
        # Where another task waited for this one, it is this one's time.
        seconds=round(time.monotonic() - started + (awaited or 0) - ahead.awaited, 2),
        # Asked in parts, it would be of a part.
        joules=model.joules if only is None else None,
        kept=model.kept,
    )


def _put(model: Any, part: Part, spec: EvaluationSpec) -> Any:
    """Have lm-eval ask a model one part, and mark its answers."""
    from lm_eval import evaluator

    return evaluator.evaluate(
        model,
        part.loaded,
        limit=part.line.limit,
        log_samples=True,
        system_instruction=spec.system_instruction,
        apply_chat_template=spec.chat_template,
        fewshot_as_multiturn=spec.fewshot_as_multiturn,
    )


def _may_hold_images(task: Any) -> bool:
    features = getattr(task.eval_docs, "features", None)
    return features is None or "Image" in str(features)


@contextmanager
def _explained(name: str, server: Endpoint) -> Iterator[None]:
    """Turn what is raised into an error that says what happened: in the server, or before it.

    The client says by an EvaluationError what became of a request.
    """
    try:
        yield
    except ServerError as error:
        raise EvaluationError(
            f"The server died while it was asked {name}. {error.fact}",
            cause=error.cause,
            remedy=error.remedy,
        ) from error
    except AssayError:
        raise
    except _unanswered() as error:
        with _explained(name, server):
            server.raise_if_dead()
        raise EvaluationError(
            f"{name} could not run: {type(error).__name__}: {str(error)[:300]}",
            remedy="Read the server's log for what went wrong there.",
        ) from None  # the exception may hold the headers of a request
    except Exception as error:
        task, place = _where(error)
        raise EvaluationError(
            f"{task or name} could not be put or marked: {type(error).__name__}: "
            f"{str(error)[:300] or 'without a word'}",
            cause=f"This happened here, at {place}, and not in the server.",
            remedy="Mend the task's definition or its rows, or leave "
            f"{name} out of evaluation.tasks.",
        ) from error


def _where(error: Exception) -> tuple[str, str]:
    """Return the task whose own code was running, if any was, and the line that failed."""
    from lm_eval.api.task import Task

    task = place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        place = f"{Path(code.co_filename).name}:{line} in {code.co_name}"
        if isinstance(owner := frame.f_locals.get("self"), Task):
            task = str(owner.config.task)
    return task, place


def _unanswered() -> tuple[type[Exception], ...]:
    """Return how a request fails that nobody answers; aiohttp is imported where one does."""
    import aiohttp

    return aiohttp.ClientError, httpx.HTTPError, ConnectionError
