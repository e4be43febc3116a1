"""What decides a task's scores besides the model, as one digest, without importing lm-eval."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from infra.contracts.progress import Progress, Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.content import code_digest, digest_of
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import Entry, Leaf, catalog_of
from infra.suite.harness.definitions.dependencies import digest, users_code
from infra.suite.harness.definitions.own import own_folder
from infra.suite.harness.rows.sources import Rows, find_rows

_LIBRARIES = (
    "lm-eval", "datasets", "pandas", "pyarrow", "transformers", "tokenizers", "tiktoken", "jinja2",
    "evaluate", "numpy", "sacrebleu", "scikit-learn",
)  # fmt: skip
"""Packages that read rows, decide the questions or how they are marked; the last three are of
lm-eval's metrics."""

CODE = (
    *("suite", "scoring", "models/chat_template.py", "contracts/capability.py"),
    *("engines/forced.py", "engines/remote"),
)
"""Code that decides the questions, how an answer is read, and how it is marked."""

_NO_CONDITIONS = {
    *("tasks", "datasets", "include_path", "concurrency", "triage", "noise_floor", "embedding")
}
"""Of the evaluation: in each task's key by content, or without effect on scores. What embeds is in
the key of a result where its content is known: `infra.engines.embeddings.identity_of`."""


def suite_entries(
    spec: EvaluationSpec, settings: Settings, progress: Progress | None = None
) -> dict[str, tuple[Entry, TaskSpec]]:
    """Return every task and group of a spec with the line of the spec it comes from.

    Where a tag or group and a line of its own name the same task, the line of its own counts.

    Raises:
        UnknownTask: Nobody knows a name.
        EvaluationError: A definition of the user's cannot be read.
    """
    names = catalog_of(spec, settings=settings, progress=progress)
    lines = {task.name: task for task in spec.tasks}
    return {
        name: (entry, lines.get(name, task))
        for task in spec.tasks
        for name, entry in names.entries([task.name]).items()
    }


def task_keys(
    spec: EvaluationSpec, settings: Settings, progress: Progress | None = None
) -> dict[str, str | None]:
    """Return the digest of each task and group of a spec, in order.

    It covers the definition with all it includes, the code that it names, the libraries, the rows,
    the shots, the limits, the chat settings, the seed, this package and the scoring client.
    Concurrency is not in it: it must not decide a score. Where the content of the rows is not
    known, there is no digest: nothing may be taken for the result of that task.

    Raises:
        UnknownTask: Nobody knows a name.
        DatasetError: The rows of a dataset cannot be had.
    """
    lines = suite_entries(spec, settings, progress)
    entries = [entry for entry, _ in lines.values()]
    rows = find_rows(entries, spec, settings=settings, progress=progress or Silent())
    return {name: task_key(entry, task, rows, spec) for name, (entry, task) in lines.items()}


def task_key(
    entry: Entry, task: TaskSpec, rows: Mapping[str, Rows], spec: EvaluationSpec
) -> str | None:
    """Return the digest of one task or group, with its rows found already; see `task_keys`."""
    read = {leaf.name: _rows_read(leaf, rows) for leaf in entry.leaves}
    if None in read.values():
        return None
    return digest_of(
        {
            "entry": entry.name,
            "definitions": definition_digest(entry, spec),
            "rows": read,
            "task": task.model_dump(mode="json", exclude={"name", "file"}),
            "conditions": spec.model_dump(mode="json", exclude=_NO_CONDITIONS),
            "versions": versions(),
            "code": code_digest(*CODE),
        }
    )


@cache
def versions() -> Mapping[str, str]:
    """Return name → version of Python and of the packages that decide a score.

    Those that this process began with: it imports each once, whatever is installed meanwhile.
    """
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def definition_digest(entry: Entry, spec: EvaluationSpec) -> str:
    """Return the digest of the definitions of a task or group, and of all they depend on but rows.

    Raises:
        EvaluationError: A definition cannot be read.
    """
    return digest(entry.definitions.values(), _own(spec))


def code_of(entry: Entry, spec: EvaluationSpec) -> list[Path]:
    """Return the files of the user's own code that a task or group depends on.

    Raises:
        EvaluationError: A definition cannot be read.
    """
    return users_code(entry.definitions.values(), _own(spec))


def _own(spec: EvaluationSpec) -> Path | None:
    return own_folder(spec.include_path) if spec.include_path else None


def _rows_read(leaf: Leaf, rows: Mapping[str, Rows]) -> str | None:
    """Return the identity of the rows of a task; none if nobody knows what will be read or marked.

    Code reads what it likes. A task that is written out inside its group is loaded by lm-eval as it
    stands there, from whatever its dataset holds by then. A metric whose code comes from a hub is
    another one whenever somebody changes it there.
    """
    if leaf.source is None or leaf.coded or leaf.definition is None or leaf.hub_metrics:
        return None
    return rows[leaf.source].digest
