"""Whether a task's own code works here, found out before its rows are downloaded.

Its code is imported and its metrics and filters are looked up, up to where it would read its rows.
Imports lm-eval; whoever must be quick imports this late.
"""

from __future__ import annotations

from typing import Any

from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry as IndexEntry
from lm_eval.tasks._index import Kind

from infra.contracts.errors import DatasetError, TaskCodeError
from infra.contracts.progress import Silent
from infra.suite.harness.definitions import packages
from infra.suite.harness.definitions.catalog import Leaf
from infra.suite.harness.definitions.dependencies import packages as imported
from infra.suite.harness.definitions.task_faults import fault, misnamed, without_data
from infra.suite.harness.libraries.undisturbed import heard


class RowsReached(Exception):
    """Everything but the rows is there."""


def check_code(leaf: Leaf) -> None:
    """Check the code of one task as far as that downloads nothing.

    A class of its own reads its rows as soon as it is made, and some metrics come from the hub: of
    these, code is imported, and the packages it names have to be there.

    Raises:
        TaskCodeError: The code fails, or needs what is not installed.
    """
    if leaf.definition is None:
        return
    imports = imported(leaf.definition)
    try:
        factory = UpToRows()
        entry = IndexEntry(name=leaf.name, kind=Kind.TASK, yaml_path=leaf.definition)
        with heard(Silent(), leaf.name):  # what is wrong is said below, once
            config = factory._load_full_config(entry)
        if "class" in config:
            if missing := packages.absent(imports):
                raise ImportError(f"{', '.join(missing)}: not installed")
        elif not leaf.hub_metrics:
            factory._build_task(entry, None)
    except RowsReached:
        if lacking := without_data(leaf.name, leaf.definition):
            raise lacking from None
        return
    except (Exception, SystemExit) as error:  # whatever a task's code raises
        found = misnamed(leaf.name, error) or fault(leaf.name, error, imports)
        if not isinstance(found, DatasetError):  # whoever reads the rows asks the hub
            raise found from error


class UpToRows(TaskFactory):  # type: ignore[misc]
    """lm-eval's factory, whose tasks raise `RowsReached` where they would read rows."""

    def __init__(self, *, run_custom: bool = False) -> None:
        """Make a factory.

        Args:
            run_custom: Let a task's own function make its rows, which may ask a hub for them.
        """
        super().__init__()
        self._run_custom = run_custom

    def _load_full_config(
        self, entry: IndexEntry, overrides: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        config: dict[str, Any] = super()._load_full_config(entry, overrides)
        own = callable(config.get("custom_dataset")) and self._run_custom
        if "class" not in config and not own:
            config["custom_dataset"] = _stop
        return config


def check_all(leaves: list[Leaf]) -> list[TaskCodeError]:
    """Return what is wrong with the code of some tasks, each error once."""
    found: dict[str, TaskCodeError] = {}
    for leaf in leaves:
        try:
            check_code(leaf)
        except TaskCodeError as error:
            found.setdefault(error.command or error.fact.replace(leaf.name, ""), error)
    return list(found.values())


def _stop(**_: Any) -> Any:
    raise RowsReached
