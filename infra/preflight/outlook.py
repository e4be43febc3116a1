"""What each task comes to on an endpoint, and why."""

from __future__ import annotations

from infra.contracts.capability import Capability
from infra.contracts.records.endpoint import Found, Grade, Outlook
from infra.contracts.specs.endpoint_run import EndpointRunSpec
from infra.engines.remote.finding import can_of
from infra.suite.port import Line

_LOGPROBS = (
    Capability.CHOSEN_LOGPROBS,
    Capability.ECHO_LOGPROBS,
    Capability.FORCED_LOGPROBS,
)

_IN_A_CHAT = frozenset([Capability.TOOLS, Capability.JSON_SCHEMA])
"""What rows ask for by their own way to be answered."""

_SCORED: dict[str, tuple[Grade, str]] = {
    "read": ("exact", "log-probabilities of exactly the choices' tokens, one request a context"),
    "forced": (
        "exact but slow",
        "a token of a choice that is not among the likeliest is forced in a request of its own, "
        "which gives the log-probability that it has",
    ),
    "echo": ("exact but slow", "each choice is echoed in a request of its own"),
}


def outlook_of(line: Line, found: Found, spec: EndpointRunSpec) -> Outlook:
    """Return what a task comes to.

    Args:
        line: The task.
        found: What the endpoint can.
        spec: The run.
    """
    can = can_of(found)
    lacking = [need for need in line.needs if need <= _IN_A_CHAT and need.isdisjoint(can)]
    if lacking:
        why = "; ".join(_why(found, one) for need in lacking for one in need)
        return Outlook(task=line.spec.name, grade="not possible", why=why)
    if any(Capability.TOOLS in need for need in line.needs):
        why = "chats with functions travel, and the endpoint's own template and parser are used"
        return Outlook(task=line.spec.name, grade="generation only", why=why)
    scored = any(need.intersection(_LOGPROBS) for need in line.needs)
    grade, why = _scored(found) if scored else _written(found, spec)
    return Outlook(task=line.spec.name, grade=grade, why=why)


def _why(found: Found, capability: Capability) -> str:
    said = next((one.why for one in found.abilities if one.name == capability), "")
    return f"it needs {capability.value}, which the endpoint was not shown to have" + (
        f" ({said})" if said else ""
    )


def _scored(found: Found) -> tuple[Grade, str]:
    if found.scoring in _SCORED:
        return _SCORED[found.scoring]
    reasons = [
        f"{one.name}: {one.why}"
        for one in found.abilities
        if not one.found and one.name in (Capability.TOKEN_PROMPTS, *_LOGPROBS)
    ]
    return (
        "not possible",
        "it needs log-probabilities of given tokens, and the endpoint was shown no way to have "
        f"them ({'; '.join(reasons)})",
    )


def _written(found: Found, spec: EndpointRunSpec) -> tuple[Grade, str]:
    if found.prompts == "tokens":
        return "exact", "prompts travel as token ids, the very ones that the task's text becomes"
    chat = any(one.name == Capability.CHAT and one.found for one in found.abilities)
    if spec.evaluation.chat_template and not chat:
        return (
            "not possible",
            "evaluation.chat_template is set, the endpoint answers no chat, and there are no "
            "prompts of token ids into which its template could be rendered here",
        )
    if spec.evaluation.chat_template:
        return "generation only", "messages travel, and the endpoint's own template renders them"
    if found.prompts == "text":
        return "generation only", "prompts travel as text, which the endpoint splits into tokens"
    return (
        "generation only",
        "each prompt travels as one message of a chat, which the endpoint's own template renders",
    )
