"""Where the rows of a task come from, as far as that is known before any are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from infra.contracts.errors import DatasetError, WeightsError
from infra.contracts.specs import DatasetSpec


@dataclass(frozen=True)
class RowSource:
    """Rows that one task or several read."""

    identity: str
    """What tells these rows from others, without their content."""

    dataset: str
    """What the tasks call them; `evaluation.datasets` goes by this name."""

    hub: DatasetSpec | None
    """Where on a hub they are; none if they are in files here, which anybody may edit."""

    named: bool
    """True if `evaluation.datasets` says where they are, not the task."""

    find: Callable[[], str] = field(compare=False, repr=False)
    """Returns where rows in files here are, for people; raises DatasetError if they are not."""


def refused(dataset: str, error: WeightsError) -> DatasetError:
    """Return what a hub's refusal means for a dataset."""
    return DatasetError(
        f"The rows of {dataset} cannot be had: {error.fact}",
        cause=error.cause,
        remedy=f"{error.remedy} Or name a folder with the rows in evaluation.datasets.",
        may_heal=error.may_heal,
    )
