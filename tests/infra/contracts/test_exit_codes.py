"""Exit codes: one place, and all say the same."""

from __future__ import annotations

import re

import pytest

from deployments.__main__ import main
from infra.contracts import exit_codes
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("status", "gate", "code"),
    [
        ("PASS", "all", 0), ("FAIL", "all", 3), ("INCONCLUSIVE", "all", 4),
        ("FAIL", "any", 3), ("FAIL", "none", 0), ("INCONCLUSIVE", "none", 0), (None, "all", 0),
    ],
)  # fmt: skip
def test_what_a_verdict_ends_with(status: exit_codes.Status | None, gate: str, code: int) -> None:
    assert exit_codes.of_verdict(status, gate) == code


def test_the_help_and_the_documentation_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    codes = {exit_codes.FAILED, exit_codes.BAD_INPUT, *exit_codes.OF_VERDICT.values()}
    assert codes == {0, 1, 2, 3, 4}
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = capsys.readouterr().out
    assert "3 for a FAIL" in " ".join(said.split())
    page = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| ([A-Z]*)", page, re.MULTILINE)
    assert {int(code) for code, _ in rows} == codes
    assert {status: int(code) for code, status in rows if status in exit_codes.OF_VERDICT} == (
        exit_codes.OF_VERDICT
    )
