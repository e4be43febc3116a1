"""Load every task of lm-eval and count what becomes of it: `python -m tests.load_every_task`.

Minutes on two cores, nothing downloaded. Each task's definition is read with all that it includes,
its code is imported and its metrics and filters are looked up, up to where it would read its rows.
What does not load is said in the words in which preflight refuses it.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

LOADS = "loads: definition, code and metrics, up to its rows"
HUB = "needs a hub: its own code asks it while it is loaded"
PACKAGE = "needs a package"
DESIGN = "refused by design"
BROKEN = "refused: its own code does not work here"
_CHUNK = 200


@dataclass(frozen=True)
class Outcome:
    """What became of a name."""

    name: str
    kind: str
    what: str
    why: str = ""
    """The package, the reason of a refusal, or the error."""


def main() -> int:
    """Load them all and print the count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--all", action="store_true", help="list every name beside the count")
    given = parser.parse_args()
    from infra.store.settings import Settings
    from infra.suite.harness.definitions.catalog import catalog
    from infra.suite.harness.definitions.index import lm_eval_version

    started = time.monotonic()
    names = [name for name in catalog(settings=Settings()).names if given.only in name]
    outcomes = load_every(names)
    print(f"lm-eval {lm_eval_version()}: {len(outcomes)} names, {time.monotonic() - started:.0f} s")
    print(as_table(outcomes, every=given.all))
    return 0


def load_every(names: Sequence[str]) -> list[Outcome]:
    """Return what becomes of each name; tasks of one folder are loaded by one process."""
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    with tempfile.TemporaryDirectory() as home:
        settings = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1",
                    "HF_HOME": home, "NLTK_DATA": home}  # fmt: skip
        before = dict(os.environ)
        os.environ.update(settings)
        try:
            with ProcessPoolExecutor(2, initializer=_start) as pool:
                return [one for part in pool.map(_load, chunks) for one in part]
        finally:
            os.environ.clear()
            os.environ.update(before)


def as_table(outcomes: Sequence[Outcome], *, every: bool = False) -> str:
    """Return the count as a table: by outcome, and by what the others lack."""
    lines = []
    for what in (LOADS, HUB, PACKAGE, DESIGN, BROKEN):
        those = [one for one in outcomes if one.what == what]
        kinds = ", ".join(f"{n} {kind}s" for kind, n in Counter(o.kind for o in those).items())
        lines.append(f"{len(those):>6}  {what}" + (f" ({kinds})" if those else ""))
        reasons: defaultdict[str, list[str]] = defaultdict(list)
        for one in those:
            reasons[one.why].append(one.name)
        for why, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
            if why:
                lines.append(f"        {len(names):>6}  {why}: {', '.join(names[:3])}"
                             + (", …" if len(names) > 3 else ""))  # fmt: skip
            if every:
                lines += [f"                {name}" for name in names]
    return "\n".join(lines)


def _start() -> None:
    """Nothing is reached: whatever wants to connect hears that there is no network."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            raise ConnectionError("no network here")

    sys.addaudithook(refuse)


def _load(names: Sequence[str]) -> list[Outcome]:
    from infra.suite.harness.libraries.quiet import quiet

    with quiet(), _silence():
        return [_outcome(name) for name in names]


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what tasks print off the terminal."""
    out, err = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = io.StringIO()  # never closed: a task may keep it
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def _outcome(name: str) -> Outcome:
    from infra.contracts.errors import EvaluationError
    from infra.store.settings import Settings
    from infra.suite.harness.definitions.catalog import catalog

    listing = catalog(settings=Settings())
    kind = listing.names[name].kind
    kind = "task" if kind == "class" else kind
    try:
        entries = listing.entries([name])
    except EvaluationError as error:
        return Outcome(name, kind, DESIGN, re.sub(r"^The (?:task|group) \S+ ", "", error.fact))
    if kind != "task":
        return Outcome(name, kind, LOADS)
    (leaf,) = next(iter(entries.values())).leaves
    what, why = _build(leaf)
    return Outcome(name, kind, what, why)


def _build(leaf: Any) -> tuple[str, str]:
    from lm_eval.tasks._index import Entry, Kind

    from infra.contracts.errors import DatasetError
    from infra.suite.harness.definitions.code_check import RowsReached, UpToRows
    from infra.suite.harness.definitions.dependencies import packages
    from infra.suite.harness.definitions.task_faults import fault

    entry = Entry(name=leaf.name, kind=Kind.TASK, yaml_path=leaf.definition)
    try:
        UpToRows(run_custom=True)._build_task(entry, None)
    except RowsReached:
        return LOADS, ""
    except (Exception, SystemExit) as error:  # whatever a task’s code raises
        found = fault(leaf.name, error, packages(leaf.definition) if leaf.definition else ())
        if isinstance(found, DatasetError):
            return HUB, ""
        if found.command:
            return PACKAGE, f"{', '.join(found.missing or ['NLTK'])}: {found.remedy}"
        own = found.cause.startswith("Its own code")
        said = found.fact.partition(": ")[2] if own else found.cause
        return BROKEN, re.sub(r"(\S*/)site-packages/", "", said)
    return LOADS, ""


if __name__ == "__main__":
    sys.exit(main())
