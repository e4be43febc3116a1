"""What a task's definition says, with what it includes, without importing lm-eval."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from infra.contracts.errors import EvaluationError
from infra.models import lfs


class Code(str):
    """The name of a function as a definition has it: `utils.process_docs`."""

    __slots__ = ()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads definitions; code they name stays a name."""


_Loader.add_constructor("!function", lambda loader, node: Code(loader.construct_scalar(node)))


def task_folder() -> Path:
    """Return the folder of lm-eval's task definitions.

    Raises:
        EvaluationError: lm-eval is not installed.
    """
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise EvaluationError(
            "lm-eval is not installed in this environment.",
            remedy="Install the packages of infra/environments/orchestrator.txt.",
        )
    return Path(spec.submodule_search_locations[0]) / "tasks"


def load(path: Path) -> dict[str, Any]:
    """Read a definition with what it includes; its own keys win.

    Raises:
        EvaluationError: A file is missing, is no definition, or includes itself.
    """
    path = path.resolve()  # as lm-eval does: what a link names stands beside what it leads to
    merged: dict[str, Any] = {}
    own = dict(read(path))
    for included in _included(own.pop("include", []), path):
        if included in chain(included)[1:]:
            raise _cycle(path)
        merged |= {key: value for key, value in load(included).items() if key != "task_list"}
    return merged | own


def chain(path: Path) -> list[Path]:
    """Return a definition's file and those it includes, each followed by its own, links resolved.

    Raises:
        EvaluationError: As for `load`.
    """
    found: list[Path] = []

    def walk(file: Path) -> None:
        if file in found:
            raise _cycle(path)
        found.append(file)
        for included in _included(read(file).get("include", []), file):
            walk(included)

    walk(path.resolve())
    return found


def read(path: Path) -> Mapping[str, Any]:
    """Return what one file says, without what it includes.

    Raises:
        EvaluationError: It cannot be read, or is no definition.
    """
    try:
        return _parsed(path.read_bytes(), path)
    except OSError as error:
        raise EvaluationError(
            f"The task definition {path} cannot be read: {error.strerror}.",
            remedy="Correct the `include:` that names it, or restore the file.",
        ) from error


@cache
def _parsed(content: bytes, path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.load(content, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"The task definition {path} is no YAML: {' '.join(str(error).split())}.",
            remedy="Mend the file.",
        ) from error
    lfs.check(path, EvaluationError)
    if not isinstance(found, dict):
        raise EvaluationError(
            f"The task definition {path} holds a {type(found).__name__}, not keys with values.",
            remedy="Write it as the definitions of lm-eval: `task: …`, `dataset_path: …`, ….",
        )
    return found


def _included(names: Any, path: Path) -> list[Path]:
    listed = [names] if isinstance(names, str) else names
    return [(path.parent / name).resolve() for name in listed]


def _cycle(path: Path) -> EvaluationError:
    return EvaluationError(
        f"The task definition {path} includes itself, or one file twice.",
        cause="lm-eval passes over a definition that does.",
        remedy="Mend its `include:`.",
    )
