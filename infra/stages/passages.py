"""What is retrieved for a task before any arm is asked it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra.contracts.errors import EvaluationError
from infra.contracts.progress import Progress
from infra.contracts.records import PythonEnvironment, TaskScores
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.records.retrieval import Retrieval
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.engines.embeddings import embedder_of
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite.passages.retrieving import Retrieved, retrieve, summary
from infra.suite.rows import read_rows

_KEPT = "retrieval"


def retrieved(
    task: TaskSpec,
    spec: EvaluationSpec,
    environment: PythonEnvironment,
    embedding: EmbeddingModel | None,
    *,
    run: RunFolder,
    settings: Settings,
    progress: Progress,
) -> Retrieved:
    """Return a task with what was found for its questions; the run's folder keeps what that was.

    Args:
        task: One that waits for it.
        spec: The tasks and their conditions.
        environment: Interpreter that has the libraries.
        embedding: What is served for vectors; none where an endpoint embeds.
        run: Receives logs, and the record of what was found.
        settings: Where what was found is kept.
        progress: Hears what happens.

    Raises:
        EvaluationError: Nothing embeds, documents cannot be read, or a library failed.
    """
    if spec.embedding is None:
        raise EvaluationError(
            f"Nothing can be retrieved for {task.name}: nothing embeds its documents.",
            remedy="Set evaluation.embedding.",
        )
    name = f"retrieve-{file_name(task)}"
    with embedder_of(
        spec.embedding, embedding, name=name, run=run, settings=settings, progress=progress
    ) as embedder:
        found = retrieve(
            task, embedder, environment, settings=settings, progress=progress, log=run.log(name)
        )
    run.write(f"{_KEPT}-{file_name(task)}", found.record)
    return found


def sentences(tasks: Mapping[str, TaskScores], run: RunFolder) -> dict[str, str]:
    """Return what there is to say of the passages of each task: of the retriever, not of a model.

    Args:
        tasks: Task → what one arm scored; all arms were shown the same.
        run: Holds its rows, and what was found.
    """
    found = {
        record.task: summary(record)
        for kept in sorted(run.path.glob(f"{_KEPT}-*.json"))
        for record in [Retrieval.model_validate_json(kept.read_text(encoding="utf-8"))]
    }
    for name, scores in tasks.items():
        if name not in found and (said := _of_own_retriever(run.path / scores.samples, name)):
            found[name] = said
    return {f"passages of {name}": said for name, said in found.items()}


def _of_own_retriever(samples: Path, task: str) -> str:
    shares = []
    for row in read_rows(samples, task):
        if not {"retrieved", "found"} <= row.doc.keys():
            return ""
        shares += [float(row.doc["found"])] * bool(row.doc["found"])
    if not shares:
        return ""
    share = 100 * sum(shares) / len(shares)
    return f"{task}: a retriever of your own found {share:.1f} % of those that hold an answer"


def file_name(task: TaskSpec) -> str:
    """Return the name of a task as files are called by it."""
    return task.name.replace("/", "-")
