"""The table of what was checked."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from infra.receipt.checks import Checked, counted

_WIDTH = 100


def table(checks: Sequence[Checked]) -> str:
    """Return all checks as text in aligned columns, every mismatch below its check."""
    names = max((len(check.name) for check in checks), default=0)
    indent = " " * (names + 9)
    lines = []
    for check in checks:
        status = "WRONG" if check.wrong else "ok"
        lines += _wrap(f"{status:<6} {check.name:<{names}}  ", indent, check.what)
        for wrong in check.wrong:
            lines += _wrap(f"{indent}- ", f"{indent}  ", wrong)
        for note in check.notes:
            lines += _wrap(f"{indent}note: ", f"{indent}  ", note)
    return "\n".join([*lines, "", _verdict(checks)])


def _wrap(first: str, rest: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    ) or [first.rstrip()]  # fmt: skip


def _verdict(checks: Sequence[Checked]) -> str:
    wrong = sum(len(check.wrong) for check in checks)
    if wrong:
        return f"This report is not what it was: {counted(wrong, 'mismatch', 'mismatches')}."
    return f"This report holds; {counted(len(checks), 'thing')} checked."
