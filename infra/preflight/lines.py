"""Findings of several arms in one table: what is the same of two of them has one line."""

from __future__ import annotations

from collections.abc import Iterable

from infra.preflight.findings import Finding


class Lines:
    """Collects findings arm by arm."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lines: list[tuple[str, Finding]] = []

    @property
    def findings(self) -> list[Finding]:
        """All lines, in the order in which they came."""
        return [
            finding.model_copy(update={"name": f"{finding.name}, {arm}"}) if arm else finding
            for arm, finding in self._lines
        ]

    def add(self, arm: str, *findings: Finding) -> None:
        """Add what was found of an arm; a second line of a name says of which arm it is."""
        self.extend(arm, findings)

    def extend(self, arm: str, findings: Iterable[Finding]) -> None:
        """Add findings; those that say word for word what another arm's do are left out."""
        before = list(self._lines)
        for finding in findings:
            if any(finding == other for _, other in before):
                continue
            named = any(finding.name == other.name for _, other in before)
            self._lines.append((arm if named else "", finding))
