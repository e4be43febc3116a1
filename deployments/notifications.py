"""Of what Prefect tells somebody, and what it says: one automation a kind of news.

Whoever is told has a name. `all` hears of every run that is deployed here or tells this server its
verdict; any other name of runs that carry the tag `assay.notify.NAME`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.automations import Automation
from prefect.events.actions import CallWebhook, RunDeployment
from prefect.events.schemas.automations import EventTrigger, Posture

from infra.contracts.wording import duration
from infra.report.trend.alerts import REGRESSED, VERDICT
from tasks.outcomes import ENDS

EVERYONE = "all"
KINDS = ("fail", "regression", "crash", "skipped", "not-started", "missed")
_DEPLOYED, _NIGHTLY = "assay", "nightly"
"""Tags of deployments: all that evaluate, and those whose absence is news."""

_STATE = "prefect.flow-run."
_REPORT = {
    "label": "event.resource.name",
    "model": "event.payload.model",
    "run": "event.payload.run",
    "state": "event.payload.verdict",
    "page": "event.payload.page",
}


def automations(
    name: str,
    *,
    webhook: UUID | None,
    note: tuple[UUID, str] | None,
    start_within: timedelta,
    verdict_within: timedelta,
    ui: str,
) -> list[Automation]:
    """Return the automations by which somebody is told.

    Args:
        name: Who.
        webhook: Block that knows the address.
        note: The deployment that writes a line, and the file.
        start_within: After its time a scheduled run has to start within this.
        verdict_within: After a nightly verdict the next has to come within this.
        ui: Address of the Prefect UI, which a server does not know of itself.
    """
    of_run = {
        "run": "flow_run.name",
        "state": "flow_run.state.name",
        "page": f'"{ui}/runs/flow-run/" ~ flow_run.id',
    }
    starting, waiting = (duration(one.total_seconds()) for one in (start_within, verdict_within))

    def made(kind: str, what: str, trigger: EventTrigger, text: str, **more: str) -> Automation:
        fields = {"kind": f'"{kind}"', "text": text, **more}
        line = ", ".join(f'"{key}": {value}' for key, value in fields.items())
        message = "{{ { " + line + " } | tojson }}"
        actions: list[Any] = []
        if webhook is not None:
            actions.append(CallWebhook(block_document_id=webhook, payload=message))
        if note is not None:
            deployment, file = note
            parameters = {"file": file, "line": {"__prefect_kind": "jinja", "template": message}}
            actions.append(RunDeployment(deployment_id=deployment, parameters=parameters))
        return Automation(
            name=name_of(name, kind), description=what, trigger=trigger, actions=actions
        )

    addressed = [] if name == EVERYONE else [f"assay.notify.{name}"]
    said = '"Assay: " ~ event.resource.name ~ '
    ended = '"Assay: the run " ~ flow_run.name ~ '
    verdicts = [f"{_STATE}{state}" for state in ENDS]
    return [
        made(
            "fail", "A verdict is FAIL.",
            _seen([VERDICT], addressed, {"assay.verdict": "FAIL"}),
            f'{said}" is a FAIL. " ~ event.payload.headline', **_REPORT,
        ),
        made(
            "regression", "A run is worse than the last good one of its kind.",
            _seen([REGRESSED], addressed, {}),
            f'{said}" is worse than " ~ (event.payload.good_run or "before") ~ ". " '
            '~ event.payload.reasons | join(" ")', **_REPORT,
        ),
        made(
            "crash", "A run came to no verdict.",
            _seen([f"{_STATE}Crashed", f"{_STATE}Failed"], [_DEPLOYED, *addressed], {}),
            f'{ended}" came to no verdict. " ~ (flow_run.state.message or "")', **of_run,
        ),
        made(
            "skipped", "A nightly run was cancelled, since an earlier one was not over.",
            _seen([f"{_STATE}Cancelled"], [_NIGHTLY, *addressed], {}),
            f'{ended}" was cancelled. " ~ (flow_run.state.message or "")', **of_run,
        ),
        made(
            "not-started", f"A nightly run did not start within {starting} of its time.",
            _absent([f"{_STATE}Late"], [f"{_STATE}Running"], [_NIGHTLY, *addressed],
                    "prefect.resource.id", start_within),
            f'{ended}" has not started: no worker took it within {starting}."', **of_run,
        ),
        made(
            "missed", f"No nightly verdict for {waiting} after the last one.",
            _absent(verdicts, verdicts, [_NIGHTLY, *addressed],
                    "related:deployment:prefect.resource.id", verdict_within),
            f'"Assay: no verdict for {waiting} after that of the run " ~ flow_run.name ~ "."',
            **of_run,
        ),
    ]  # fmt: skip


def name_of(name: str, kind: str) -> str:
    """Return the name of the automation by which somebody is told a kind of news."""
    return f"assay-{name}-{kind}"


def _tags(tags: list[str]) -> list[dict[str, Any]]:
    return [
        {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"}
        for tag in tags
    ]


def _seen(expect: list[str], tags: list[str], match: dict[str, Any]) -> EventTrigger:
    return EventTrigger(
        expect=set(expect), match=match, match_related=_tags(tags), posture=Posture.Reactive
    )


def _absent(
    after: list[str], expect: list[str], tags: list[str], each: str, within: timedelta
) -> EventTrigger:
    return EventTrigger(
        after=set(after), expect=set(expect), match_related=_tags(tags), for_each={each},
        posture=Posture.Proactive, within=within,
    )  # fmt: skip
