"""A verdict as JUnit XML, the form in which CI systems read tests.

A suite a candidate; in it one case for the verdict, one for all rows together and one for each
task. What fails the candidate is a `failure`. What is not shown is an `error` where the verdict
gates, since the command line ends as failed on it, and `skipped` where it is only reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from infra.contracts import wording
from infra.contracts.records.verdict_file import (
    Difference,
    JudgedCandidate,
    JudgedTask,
    VerdictFile,
)
from infra.report.text import printable

_UNIT = {"points": " points", "nats": " nats", "bits": " bits", "value": ""}


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    status: str
    """`PASS`, `FAIL`, `INCONCLUSIVE` or `NO_RESULT`."""

    message: str
    """One sentence."""

    text: str = ""
    """Why, a line each."""


def junit(document: VerdictFile) -> str:
    """Return the XML.

    Args:
        document: What came out.
    """
    root = Element("testsuites")
    for one in document.candidates:
        _suite(root, document, one)
    if not document.candidates:  # an empty file is taken for a broken one
        suite = SubElement(root, "testsuite", _head(document, document.label))
        case = SubElement(suite, "testcase", _named(document.label, "verdict"))
        SubElement(case, "skipped", {"message": _plain(document.headline)})
        suite.attrib.update(_counts(suite))
    indent(root)
    text: str = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(root: Element, document: VerdictFile, one: JudgedCandidate) -> None:
    name = f"{document.label}.{one.name}"
    suite = SubElement(root, "testsuite", _head(document, name))
    properties = SubElement(suite, "properties")
    for key, value in _properties(document, one):
        SubElement(properties, "property", {"name": key, "value": _plain(value)})
    for case in _cases(one):
        element = SubElement(suite, "testcase", _named(name, case.name))
        if kind := _kind(case.status, document.gate):
            attributes = {"message": _plain(case.message)}
            if kind != "skipped":
                attributes["type"] = case.status
            SubElement(element, kind, attributes).text = _plain(case.text) or None
        else:
            SubElement(element, "system-out").text = _plain(case.message)
    suite.attrib.update(_counts(suite))


def _kind(status: str, gate: str) -> str:
    if status == "PASS":
        return ""
    if status == "FAIL":
        return "failure"
    return "skipped" if gate == "none" and status == "INCONCLUSIVE" else "error"


def _cases(one: JudgedCandidate) -> Iterator[_Case]:
    reasons = "\n".join((*one.reasons, *((one.needed,) if one.needed else ())))
    yield _Case("verdict", one.status, one.headline, reasons)
    if rows := one.all_rows:
        yield _Case(
            "all rows",
            rows.status,
            f"{_difference(rows.difference, rows.unit)} over {rows.rows:,} rows of "
            f"{wording.listed([*rows.tasks])}; "
            f"acceptable is a loss below {wording.points(rows.margin)}",
        )
    for task in one.tasks:
        yield _Case(task.task, task.status, _sentence(task))


def _sentence(task: JudgedTask) -> str:
    unit = _UNIT[task.unit]
    margin = "" if task.margin is None else f"; it may lose {task.margin:g}{unit}"
    return (
        f"{task.metric}: {task.baseline:.6g} → {task.candidate:.6g}{unit}, "
        f"{_difference(task.difference, task.unit)} over {task.rows:,} rows, "
        f"{task.lost:,} lost and {task.gained:,} gained{margin}"
    )


def _difference(of: Difference, unit: str) -> str:
    """Return a difference with its interval: `-6.3 (-9.9 to -2.8) points`."""
    ends = "no interval" if of.low is None or of.high is None else f"{of.low:.6g} to {of.high:.6g}"
    return f"{of.value:+.6g} ({ends}){_UNIT[unit]}"


def _properties(document: VerdictFile, one: JudgedCandidate) -> Iterator[tuple[str, str]]:
    yield "run", document.run_id
    yield "baseline", document.baseline
    yield "verdict of the run", document.status
    if one.checkpoint_sha256:
        yield "checkpoint sha256", one.checkpoint_sha256
    if document.report:
        yield "report", document.report.name
        yield "report sha256", document.report.sha256


def _head(document: VerdictFile, name: str) -> dict[str, str]:
    # Without a zone: so the schema has it.
    return {"name": _plain(name), "timestamp": f"{document.created:%Y-%m-%dT%H:%M:%S}"}


def _named(suite: str, name: str) -> dict[str, str]:
    return {"classname": _plain(suite), "name": _plain(name), "time": "0"}


def _counts(suite: Element) -> dict[str, str]:
    cases = suite.findall("testcase")
    counted = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {
        "tests": str(len(cases)),
        **{name: str(len(suite.findall(f"testcase/{tag}"))) for name, tag in counted.items()},
        "time": "0",
    }


def _plain(text: str) -> str:
    return str(printable(text))
