"""Findings of several arms in one table: what is the same of two of them has one line."""

from __future__ import annotations

from collections.abc import Iterable

from infra.contracts.specs import BASELINE, RunSpec
from infra.contracts.specs.places import Places, placed
from infra.preflight.findings import Finding


class Lines:
    """Collects findings arm by arm."""

    def __init__(self, spec: RunSpec) -> None:
        """Begin with none.

        Args:
            spec: Whose arms they are: problems name its candidates, and fields where it has them.
        """
        self._spec = spec
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

    def extend(
        self, arm: str, findings: Iterable[Finding], *, places: Places | None = None
    ) -> None:
        """Add findings; those that say word for word what another arm's do are left out.

        Args:
            arm: Whose they are.
            findings: What was found.
            places: Where the run has the fields that they name; none for where this arm has its
                own. Given, they are the run's, and no candidate's.
        """
        before = list(self._lines)
        several = len(self._spec.candidates) > 1 and arm != BASELINE and places is None
        places = self._spec.places(arm) if places is None else places
        for given in findings:
            texts = {n: placed(getattr(given, n), places) for n in ("found", "cause", "remedy")}
            finding = given.model_copy(update=texts)
            if any(finding == other.model_copy(update={"arm": ""}) for _, other in before):
                continue
            named = any(finding.name == other.name for _, other in before)
            if several and finding.status == "problem":
                named, finding = True, finding.model_copy(update={"arm": arm})
            self._lines.append((arm if named else "", finding))
