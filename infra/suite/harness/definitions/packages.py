"""What a task's code needs that is not installed, and the command that brings it.

lm-eval's own list of extras says which version of a package its tasks are made for. Packages that
are light are locked with the rest; the others are named when a task asks for them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

LOCK = Path(__file__).parents[3] / "environments" / "orchestrator.txt"

_DISTRIBUTIONS = {
    "antlr4": "antlr4-python3-runtime",
    "bert_score": "bert-score",
    "bs4": "beautifulsoup4",
    "fugashi": "fugashi[unidic-lite]",
    "iso639": "iso639-lang",
    "PIL": "pillow",
    "tinyBenchmarks": "git+https://github.com/felipemaiapolo/tinyBenchmarks",
}
"""Module → what is installed to have it, where the names differ."""

_NOT_BESIDE = {
    "tarski": "antlr4-python3-runtime 4.7.2, while the tasks of mathematics need 4.11",
}
"""Module → why it cannot be installed beside what is locked: the version that it wants."""

_NLTK = re.compile(r"nltk\.download\('([\w-]+)'\)")


def install(modules: Iterable[str]) -> str | None:
    """Return the command that installs what brings modules, and changes nothing that is locked.

    None if that cannot be.
    """
    tops = {module.partition(".")[0] for module in modules}
    if tops & _NOT_BESIDE.keys():
        return None
    wanted = sorted(_requirement(_DISTRIBUTIONS.get(top, top)) for top in tops)
    python = sys.executable
    return shlex.join(
        [python, "-m", "uv", "pip", "install", "--python", python, "-c", str(LOCK), *wanted]
    )


def why_not(modules: Iterable[str]) -> str:
    """Return why modules cannot be installed beside what is locked."""
    return "; ".join(f"{top} wants {_NOT_BESIDE[top]}" for top in modules if top in _NOT_BESIDE)


def fetch_data(error: BaseException) -> str | None:
    """Return the command that fetches NLTK's data, if it is them that an error lacks."""
    for link in chain(error):
        if isinstance(link, LookupError) and (found := _NLTK.search(str(link))):
            return fetch([found[1]])
    return None


def fetch(data: Iterable[str]) -> str:
    """Return the command that fetches some of NLTK's data."""
    return shlex.join([sys.executable, "-m", "nltk.downloader", *data])


def absent(modules: Iterable[str]) -> list[str]:
    """Return the modules that are not installed, by the names of their packages."""
    tops = {module.partition(".")[0] for module in modules}
    return sorted(top for top in tops if top and not _is_here(top))


def imported(error: BaseException) -> Iterator[str]:
    """Return the modules whose import failed on the way to an error."""
    for link in chain(error):
        if isinstance(link, importlib.metadata.PackageNotFoundError | ImportError) and link.name:
            yield str(link.name)


def chain(error: BaseException) -> list[BaseException]:
    """Return an error, what it came from, and so on."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


@cache
def distributions() -> Mapping[str, list[str]]:
    """Return which distributions bring which module."""
    return importlib.metadata.packages_distributions()


def _is_here(top: str) -> bool:
    try:
        return top in sys.builtin_module_names or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return top in sys.modules


def _requirement(distribution: str) -> str:
    """Return a distribution as lm-eval wants it, if it says anything of it."""
    return _wanted().get(_plain(distribution), distribution)


@cache
def _wanted() -> dict[str, str]:
    wanted: dict[str, str] = {}
    for line in importlib.metadata.requires("lm_eval") or ():
        requirement = line.partition(";")[0].strip()
        if found := re.match(r"[\w.-]+", requirement):
            wanted.setdefault(_plain(found[0]), requirement)
    return wanted


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()
