"""Find in documents what stands before the questions of a task."""

from __future__ import annotations

from prefect import task
from prefect.futures import PrefectFuture

from infra.contracts.records import PythonEnvironment
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.stages.passages import file_name, retrieved
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite.passages.pending import PROGRAM, pending
from tasks.build_environment import build_environment
from tasks.outcomes import outcome, value_of
from tasks.progress import reported_to_prefect


@task(name="retrieve-passages", task_run_name="retrieve-passages-{line.name}")
def retrieve_passages(
    line: TaskSpec,
    evaluation: EvaluationSpec,
    environment: PythonEnvironment,
    embedding: EmbeddingModel | None,
    run: RunFolder,
) -> TaskSpec:
    """Return a task with what was found for its questions; the same is found once.

    A server of vectors is started if a text has none yet, and ends inside this task.

    Args:
        line: The task, of a file whose settings name a folder of documents.
        evaluation: Says what embeds.
        environment: Interpreter that has LlamaIndex and LangChain.
        embedding: The embedding model that is served; none where an endpoint embeds.
        run: Receives logs and the record of what was found.
    """
    with reported_to_prefect() as progress, run.stage(f"retrieve-{file_name(line)}") as timed:
        found = retrieved(
            line, evaluation, environment, embedding,
            run=run, settings=Settings(), progress=progress,
        )  # fmt: skip
        timed.reused = found.reused
    return outcome(found.task, reused=found.reused)


def with_passages(
    evaluation: EvaluationSpec,
    run: RunFolder,
    environment: PrefectFuture[PythonEnvironment] | None = None,
    embedding: EmbeddingModel | None = None,
) -> EvaluationSpec:
    """Return the tasks as any model is asked them: with what was found in documents.

    Args:
        evaluation: The tasks and their conditions.
        run: Receives logs and records.
        environment: That has the libraries, if somebody builds it already.
        embedding: The embedding model that is served; none where an endpoint embeds.
    """
    if not (waiting := pending(evaluation)):
        return evaluation
    there = environment.result() if environment else build_environment(PROGRAM, "cpu", run)
    found = {
        line.name: value_of(retrieve_passages(line, evaluation, value_of(there), embedding, run))
        for line in waiting
    }
    tasks = tuple(found.get(line.name, line) for line in evaluation.tasks)
    return evaluation.model_copy(update={"tasks": tasks})
