"""Everything a definition depends on but rows: files, code, packages, variables.

A definition is a YAML file. It may include others, and name code with `!function`; code may import
further files, and packages. A score depends on all of that, so its key digests all of that. What
stands beside code of the user's own counts whole, since nobody knows which files code opens.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from infra.contracts.errors import EvaluationError
from infra.store.content import digest_file, digest_of
from infra.suite.harness.definitions import code_reads
from infra.suite.harness.definitions.files import Code, chain, read, task_folder

_OURS_TO_FIND = "lm_eval.tasks."
"""Modules below this name are files of lm-eval's task folder."""

_DEFINING = {"task", "group", "include", "dataset_path", "doc_to_text", "metric_list", "class"}
"""Keys of which a definition, or what it includes, has one."""

_WRITTEN = (".log", ".lock", ".pyc", ".tmp")
"""Ends of names of files that code writes and does not read."""

_NO_CONTENT = {"__pycache__", ".ipynb_checkpoints"}


def digest(paths: Iterable[Path], own: Path | None = None) -> str:
    """Return one digest for some definitions and all they depend on but rows.

    Args:
        paths: Their YAML files.
        own: The user's own folder of definitions; beside code in there all files count.

    Raises:
        EvaluationError: As for `load`.
    """
    own = own.resolve() if own else None
    found: list[object] = []
    for path in paths:
        files = chain(path)
        found.append([[file.name, _sha(file)] for file in files])
        code, imported = _code(files, own)
        folders = _folders(files, own)
        opened, variables = code_reads.of(_of_the_users(code), folders)
        more = dict.fromkeys([*code, *_beside(code, folders), *opened])
        found.append(
            [
                sorted([str(_place(file)), _sha(file)] for file in more),
                sorted([package, _version(package)] for package in imported),
                variables,
            ]
        )
    return digest_of(found)


def packages(path: Path, own: Path | None = None) -> set[str]:
    """Return the packages that the code of a definition imports, wherever in it.

    Raises:
        EvaluationError: As for `load`.
    """
    files = chain(path)
    return _code(files, own.resolve() if own else None)[1]


def code(path: Path, own: Path | None = None) -> list[Path]:
    """Return the files of code that a definition depends on.

    Raises:
        EvaluationError: As for `load`.
    """
    return list(_code(chain(path), own.resolve() if own else None)[0])


def names_code(path: Path) -> bool:
    """Return whether a definition names code, itself or in what it includes.

    Raises:
        EvaluationError: As for `load`.
    """
    return any(True for file in chain(path) for _ in _code_names(read(file)))


def users_code(paths: Iterable[Path], own: Path | None = None) -> list[Path]:
    """Return the files of code that is not lm-eval's, on which some definitions depend.

    Args:
        paths: As for `digest`.
        own: As for `digest`.

    Raises:
        EvaluationError: As for `load`.
    """
    own = own.resolve() if own else None
    found = (file for path in paths for file in _code(chain(path), own)[0])
    return _of_the_users(dict.fromkeys(found))


def _code(files: Iterable[Path], own: Path | None) -> tuple[dict[Path, None], set[str]]:
    """Return the files of code that definitions depend on, and the packages."""
    code: dict[Path, None] = {}
    imported: set[str] = set()
    for file in files:
        for name in _code_names(read(file)):
            _follow(file.parent, str(name).rpartition(".")[0], own, code, imported)
    return code, imported


def _of_the_users(code: Iterable[Path]) -> list[Path]:
    lm_evals = task_folder().resolve()
    return [file for file in code if not file.resolve().is_relative_to(lm_evals)]


def _folders(files: Iterable[Path], own: Path | None) -> list[Path]:
    """Return the user's folder, and those of definitions that it includes from elsewhere."""
    return [*([own] if own else []), *_of_the_users(file.parent for file in files)]


def _code_names(value: Any) -> Iterator[Code]:
    if isinstance(value, Code):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _code_names(part)


def _follow(
    folder: Path, module: str, own: Path | None, code: dict[Path, None], packages: set[str]
) -> None:
    """Note the files of a module that is named in a folder, and of all that it imports."""
    named = [(folder, module)]
    while named:
        place, name = named.pop()
        files = _files_of(place, name, own) if name else []
        top = name.partition(".")[0]
        if not files and top and top not in sys.stdlib_module_names:
            packages.add(top)
        for file in files:
            if file not in code:
                code[file] = None
                named += _imports(file)


def _files_of(folder: Path, module: str, own: Path | None) -> list[Path]:
    """Return a module's files, where they lie beside its user, below `own`, or in no package."""
    parts = module.split(".")
    if module.startswith(_OURS_TO_FIND):
        places, parts = [task_folder()], parts[2:]
    else:
        places = [folder, *([own] if own else [])]
    for place in places:
        below = place.joinpath(*parts)
        if (file := below.with_suffix(".py")).is_file():
            return [file]
        if (below / "__init__.py").is_file():
            return sorted(below.rglob("*.py"))
    return _loose(parts[0]) if places[0] == folder else []


@cache
def _loose(top: str) -> list[Path]:
    """Return the files of a module that Python finds, and that belongs to no installed package."""
    if not top or top in sys.stdlib_module_names or top in _distributions():
        return []
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    origin = Path(spec.origin)
    return sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


def _imports(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield folder and name of each module that a file imports, wherever in it."""
    for node in _import_statements(file.read_bytes()):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield file.parent, name.name
        else:
            folder = file.parent
            for _ in range(node.level - 1):
                folder = folder.parent
            if node.module:
                yield folder, node.module
            # What is imported from a package may be a module of it.
            for name in node.names:
                if not node.module and node.level:
                    yield folder, name.name
                elif node.module and _files_of(folder, f"{node.module}.{name.name}", None):
                    yield folder, f"{node.module}.{name.name}"


@lru_cache(maxsize=1024)
def _import_statements(code: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Return the imports of some code, wherever in it: the same code is parsed once."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return ()  # loading it will say so
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _beside(code: Iterable[Path], own: Sequence[Path]) -> list[Path]:
    """Return what stands beside code of the user's own and is no definition."""
    folders = {file.parent for file in code if any(file.is_relative_to(one) for one in own)}
    found = {path for folder in folders for path in _files(folder) if not _defines(path)}
    return sorted(found - set(code))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, those behind links to folders among them."""
    seen: set[Path] = set()
    for place, below, names in os.walk(folder, followlinks=True):
        here = Path(place)
        fresh = here.resolve() not in seen
        seen.add(here.resolve())
        below[:] = [one for one in below if fresh and one not in _NO_CONTENT and one[0] != "."]
        for name in names:
            if name[0] != "." and not name.endswith(_WRITTEN) and (here / name).is_file():
                yield here / name


def _defines(path: Path) -> bool:
    """Return whether a file is a definition, and not some other YAML file that code reads."""
    if path.suffix != ".yaml":
        return False
    try:
        return not _DEFINING.isdisjoint(read(path))
    except EvaluationError:
        return True  # its task is refused where the spec names it


def _place(file: Path) -> str:
    """Return a file's name with its folder's: where all of it lies decides nothing."""
    return "/".join(file.parts[-2:])


def _sha(file: Path) -> str:
    return digest_file(file).sha256


def _version(package: str) -> str:
    names = _distributions().get(package, [])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
