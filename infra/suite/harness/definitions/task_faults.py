"""What it means when the code of a task fails, and its rows are not to blame."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

from infra.contracts.errors import DatasetError, TaskCodeError
from infra.suite.harness.definitions import nltk_data, packages
from infra.suite.harness.definitions.dependencies import code

_HUB = re.compile(
    r"offline|ConnectionError|ConnectTimeout|MaxRetry|on the (?:Hugging Face )?Hub|urlopen error"
    r"|Name or service not known|no network",
    re.IGNORECASE,
)
"""What is said where something of the hub was wanted, and it did not answer."""


_NO_FUNCTION = re.compile(r"(?:has no function|Cannot import module|Invalid function reference) '")
_NO_KEY = re.compile(r"TaskConfig\.__init__\(\) got an unexpected keyword argument '([^']*)'")
"""What lm-eval says of a `!function`, and of a key of a definition, that it does not know."""


def misnamed(task: str, error: BaseException) -> TaskCodeError | None:
    """Return what is wrong with a definition that names what is not there; none if it does not."""
    if unknown := _NO_KEY.search(str(error)):
        return TaskCodeError(
            f"The definition of {task} has a key that lm-eval does not know: {unknown[1]}.",
            remedy="Correct or remove it.",
        )
    if _NO_FUNCTION.search(str(error)):
        return TaskCodeError(
            f"The definition of {task} names a function that is not there: {short(error)}.",
            remedy="Correct the `!function` in the definition, as `file.function` with file.py "
            "beside it, or install the package that is meant.",
        )
    return None


def lacks(error: BaseException) -> bool:
    """Return whether an error is about a package or data that are not here."""
    tried = packages.imported(error)
    return packages.fetch_data(error) is not None or bool(packages.absent(tried))


def fault(
    task: str, error: BaseException, imports: Iterable[str] = ()
) -> TaskCodeError | DatasetError:
    """Return what an error of a task's code means, as one error with a remedy.

    It is a `DatasetError` where the hub is asked for rows, and does not answer.

    Args:
        task: The task.
        error: What its code raised.
        imports: Modules that its code imports, wherever in it.
    """
    said = f"{type(error).__name__}: {short(error)}"
    if command := packages.fetch_data(error):
        return _data(task, command)
    tried = list(packages.imported(error))
    missing = packages.absent([*tried, *imports])
    asks = "install" in str(error).lower()
    if missing and (packages.absent(tried) or isinstance(error, ImportError) or asks):
        return _package(task, missing)
    if any(_HUB.search(f"{type(one).__name__} {one}") for one in packages.chain(error)):
        return DatasetError(
            f"The code of the task {task} asks the hub while it is loaded, and got no answer: "
            f"{said}.",
            remedy="Check the network, or set HF_ENDPOINT to a mirror; or leave the task out.",
        )
    cause = "Its own code fails, before any model is asked."
    if isinstance(error, ImportError) and (here := _installed(tried)):
        cause = f"It is made for another version than the one that is locked: {here}."
    return TaskCodeError(
        f"The task {task} cannot be loaded: {said}.",
        cause=cause,
        remedy="Mend the task's code or its rows, or leave the task out.",
    )


def without_data(task: str, definition: Path) -> TaskCodeError | None:
    """Return what data a task lacks whose code has fetched them in vain; none if it lacks none.

    Args:
        task: The task, loaded.
        definition: Its YAML file.
    """
    missing = nltk_data.absent(code(definition))
    return _data(task, packages.fetch(missing)) if missing else None


def short(error: BaseException) -> str:
    """Return what an error says, on one line that is not too long."""
    return " ".join(str(error).split())[:300].rstrip(".") or repr(error)


def _data(task: str, command: str) -> TaskCodeError:
    return TaskCodeError(
        f"The task {task} needs data of NLTK that are not here.",
        remedy=f"Fetch them: `{command}`. Or leave the task out.",
        command=command,
    )


def _package(task: str, missing: list[str]) -> TaskCodeError:
    named = ", ".join(missing)
    command = packages.install(missing)
    return TaskCodeError(
        f"The task {task} needs what is not installed: {named}.",
        cause="" if command else f"It cannot stand beside what is: {packages.why_not(missing)}.",
        remedy=f"Install it: `{command}`. Or leave the task out."
        if command
        else "Leave the task out.",
        command=command or "",
        missing=tuple(missing),
    )


def _installed(modules: Iterable[str]) -> str:
    names = packages.distributions()
    found = {name for module in modules for name in names.get(module.partition(".")[0], ())}
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(found))
