"""The table of what was checked."""

from __future__ import annotations

from collections.abc import Sequence

from infra.contracts.wording import wrapped
from infra.report.receipt.checks import Checked, counted


def table(checks: Sequence[Checked]) -> str:
    """Return all checks as text in aligned columns, every mismatch below its check."""
    names = max((len(check.name) for check in checks), default=0)
    indent = " " * (names + 9)
    lines = []
    for check in checks:
        status = "WRONG" if check.wrong else "ok"
        lines += wrapped(f"{status:<6} {check.name:<{names}}  ", indent, check.what)
        for wrong in check.wrong:
            lines += wrapped(f"{indent}- ", f"{indent}  ", wrong)
        for note in check.notes:
            lines += wrapped(f"{indent}note: ", f"{indent}  ", note)
    return "\n".join([*lines, "", _verdict(checks)])


def _verdict(checks: Sequence[Checked]) -> str:
    wrong = sum(len(check.wrong) for check in checks)
    if wrong:
        return f"This report is not what it was: {counted(wrong, 'mismatch', 'mismatches')}."
    return f"This report holds; {counted(len(checks), 'thing')} checked."
