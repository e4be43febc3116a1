"""The tasks that arms are evaluated on.

port          what every kind of tasks offers
harness       the one kind there is: lm-eval's tasks
own           a file of the user's rows becomes one of these
passages      what is found in documents for the questions of such a file
metrics       what a metric is
rows          what one document asked, and how it was answered and scored
sources       where rows come from
prompt_check  whether the first questions can be put to a model

Whoever wants tasks takes `kind_of`; nobody outside imports a kind's own modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.contracts.capability import Capability

if TYPE_CHECKING:
    from infra.contracts.progress import Progress
    from infra.contracts.specs import EvaluationSpec
    from infra.store.settings import Settings
    from infra.suite.port import TaskKind


def kind_of(spec: EvaluationSpec) -> TaskKind:
    """Return the kind of tasks that a spec names. There is one."""
    from infra.suite.harness.kind import HarnessTasks

    return HarnessTasks()


def tasks_with_functions(
    spec: EvaluationSpec, settings: Settings, progress: Progress
) -> frozenset[str]:
    """Return the tasks of a spec that let a model call functions, by all their names.

    Raises:
        EvaluationError: A task cannot run here.
    """
    kind = kind_of(spec)
    lines = [
        kind.line(task, spec, settings=settings, progress=progress) for task in spec.tasks
    ]  # fmt: skip
    need = frozenset([Capability.TOOLS])
    return frozenset(
        name for line in lines if need in line.needs for name in (line.spec.name, *line.tasks)
    )
