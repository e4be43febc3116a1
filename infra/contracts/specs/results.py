"""Where the results go."""

from __future__ import annotations

from pydantic import Field

from infra.contracts.specs.spec import Spec


class ResultsSpec(Spec):
    """A folder, and a name to compare runs of a kind by."""

    folder: str | None = None
    """Folder that receives `<run-id>/` and `history.csv`. Empty: `ASSAY_RUNS`, or `./runs`."""

    label: str = Field(default="adhoc", pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)
    """Name under which runs of a kind are compared over time: lowercase letters, digits, dashes."""

    notify: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)
    """Name of whom to notify: the flow run gets the tag `assay.notify.<name>`, which automations
    match. Empty: nobody."""
