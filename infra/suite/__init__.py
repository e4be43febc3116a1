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

if TYPE_CHECKING:
    from infra.contracts.specs import EvaluationSpec
    from infra.suite.port import TaskKind


def kind_of(spec: EvaluationSpec) -> TaskKind:
    """Return the kind of tasks that a spec names. There is one."""
    from infra.suite.harness.kind import HarnessTasks

    return HarnessTasks()
