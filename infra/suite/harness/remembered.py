"""What is remembered of suites that were loaded and checked, so that none is loaded to ask that.

Imports no lm-eval.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import Field

from infra.contracts.progress import Progress
from infra.contracts.records import Record
from infra.contracts.specs import EvaluationSpec
from infra.store.content import digest_of, write_atomically
from infra.store.settings import Settings
from infra.store.usage import used
from infra.suite.harness.keys import task_keys
from infra.suite.harness.questions.question import Questions
from infra.suite.metrics import Metric


class Facts(Record):
    """What is remembered of a suite whose marking was found right."""

    notes: tuple[str, ...]
    questions: tuple[Questions, ...]
    """The first ones of each task."""

    rows: dict[str, int]
    """Task or group → documents that are evaluated; without tasks that have no points."""

    first_metrics: dict[str, tuple[str, Metric]] = Field(default_factory=dict)
    """Task or group → its first metric, without filter, and what is declared of it; without those
    that have none. Empty in what earlier versions remember."""

    packages: str = ""
    """Digest of what was installed; empty in what earlier versions remember."""


_of_this_process: dict[str, Facts] = {}
"""By the suite's spec: what this process has loaded, also of rows whose content is unknown."""


def remember(
    facts: Facts, spec: EvaluationSpec, keys: Mapping[str, str | None], settings: Settings
) -> None:
    """Keep what was found of a suite.

    Args:
        facts: What was found.
        spec: What was loaded.
        keys: Its task keys.
        settings: Where it is kept.
    """
    _of_this_process[spec.model_dump_json()] = facts
    if (kept := _kept(keys, settings)) is not None:
        write_atomically(kept, facts.model_dump_json())


def was_checked(spec: EvaluationSpec, settings: Settings, progress: Progress) -> bool:
    """Return whether exactly these tasks have been loaded and checked before, on these rows.

    Where nobody can tell whether the rows are still these, they have not.
    """
    kept = _kept(task_keys(spec, settings, progress), settings)
    return kept is not None and kept.is_file()


def still_right(keys: Mapping[str, str | None], settings: Settings) -> bool:
    """Return whether tasks were found to be marked right with just the packages there are now.

    A metric may import any of them, and the keys name some alone.
    """
    facts = _facts(keys, settings)
    return facts is not None and facts.packages == packages()


@cache
def packages() -> str:
    """Return the digest of the names and versions of all packages that are installed."""
    found = importlib.metadata.distributions()
    return digest_of(sorted({f"{one.name} {one.version}" for one in found}))


def remembered(spec: EvaluationSpec, settings: Settings, progress: Progress) -> Facts | None:
    """Return what is remembered of a suite; none if it has not been loaded."""
    keys = task_keys(spec, settings, progress)
    if None in keys.values():
        return _of_this_process.get(spec.model_dump_json())
    return _facts(keys, settings)


def _facts(keys: Mapping[str, str | None], settings: Settings) -> Facts | None:
    if (kept := _kept(keys, settings)) is None:
        return None
    try:
        return Facts.model_validate_json(kept.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _kept(keys: Mapping[str, str | None], settings: Settings) -> Path | None:
    if None in keys.values():
        return None
    kept = settings.cache / "suites" / digest_of(list(keys.values()))[:32]
    used(kept)
    return kept
