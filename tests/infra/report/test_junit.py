"""JUnit XML as CI systems read it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from infra.contracts.records.verdict_file import VerdictFile
from infra.report import verdict_file
from infra.report.junit import junit
from tests.infra.made_runs import make_run

SUITE = {"name", "timestamp", "tests", "failures", "errors", "skipped", "time"}
"""Attributes that the schema of Jenkins and Surefire knows, as far as they are used."""

RESULTS = {"failure", "error", "skipped"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> VerdictFile:
    report = make_run(
        tmp_path_factory.mktemp("run"), rows=60, candidates=3, failed={"candidate-3": "It <died>."}
    )
    return verdict_file.of_run(report)


def with_first(document: VerdictFile, **changes: Any) -> VerdictFile:
    first, *others = document.candidates
    changed = first.model_copy(update=changes)
    return document.model_copy(update={"candidates": (changed, *others)})


def results(document: VerdictFile) -> dict[str, str]:
    """Return suite and case → what it is; `pass` without anything."""
    root = ElementTree.fromstring(junit(document))
    return {
        f"{suite.get('name')}: {case.get('name')}": next(
            (child.tag for child in case if child.tag in RESULTS), "pass"
        )
        for suite in root
        for case in suite.iter("testcase")
    }


def test_it_is_a_suite_a_candidate_and_a_case_a_judged_thing(document: VerdictFile) -> None:
    root = ElementTree.fromstring(junit(document))
    assert root.tag == "testsuites"
    assert [suite.get("name") for suite in root] == [
        "sample.quantized", "sample.candidate-2", "sample.candidate-3",
    ]  # fmt: skip
    assert [case.get("name") for case in root[0].iter("testcase")] == [
        "verdict", "all rows", "gsm8k", "global_mmlu_en", "gpqa_main_zeroshot",
    ]  # fmt: skip
    for suite in root:
        assert set(suite.attrib) == SUITE
        tags = [child.tag for child in suite]
        assert tags == sorted(tags)  # properties, then the cases: the schema wants that order
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
        for case in cases:
            assert {"name", "classname", "time"} == set(case.attrib)
            assert len([child for child in case if child.tag in RESULTS]) <= 1


@pytest.mark.parametrize(
    ("status", "gate", "kind"),
    [
        ("PASS", "all", "pass"),
        ("FAIL", "all", "failure"),
        ("FAIL", "none", "failure"),
        ("INCONCLUSIVE", "all", "error"),
        ("INCONCLUSIVE", "none", "skipped"),
        ("NO_RESULT", "none", "error"),
    ],
)
def test_what_a_verdict_is_to_a_ci_system(
    document: VerdictFile, status: str, gate: str, kind: str
) -> None:
    """What the command line fails on must not be green there; what it reports must not be red."""
    changed = with_first(document, status=status).model_copy(update={"gate": gate})
    assert results(changed)["sample.quantized: verdict"] == kind


def test_a_task_fails_by_itself(document: VerdictFile) -> None:
    first = document.candidates[0]
    tasks = tuple(
        task.model_copy(update={"status": "FAIL" if task.task == "gsm8k" else "PASS"})
        for task in first.tasks
    )
    found = results(with_first(document, tasks=tasks))
    assert found["sample.quantized: gsm8k"] == "failure"
    assert found["sample.quantized: global_mmlu_en"] == "pass"


def test_hostile_texts_stay_texts(document: VerdictFile) -> None:
    evil = "</error><testcase name='x'/> \x00 \x1b[31m ]]> \ud800 & \"'"
    changed = with_first(
        document, name='q"<&>\x07', status="FAIL", headline=evil, reasons=(evil,)
    ).model_copy(update={"label": "a\x00b", "run_id": evil})
    root = ElementTree.fromstring(junit(changed).encode("utf-8"))
    assert len(root[0].findall("testcase")) == 5
    failure = root[0].find("testcase/failure")
    assert failure is not None and "</error>" in failure.attrib["message"]
    assert "\x00" not in junit(changed)


def test_without_a_candidate_there_is_a_case_that_says_so(document: VerdictFile) -> None:
    alone = document.model_copy(
        update={"candidates": (), "status": "NOT_JUDGED", "headline": "Nothing to judge."}
    )
    root = ElementTree.fromstring(junit(alone))
    skipped = root.find("testsuite/testcase/skipped")
    assert skipped is not None and skipped.get("message") == "Nothing to judge."
