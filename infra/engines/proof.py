"""Whether a server honours forced tokens, shown by its own answers about a short text.

Servers exist that ignore what they do not know, leave log-probabilities out, return those of the
biased model, or of the position before. None of them contradicts the shape of an answer; each
contradicts itself somewhere here:

    choices     several prompts at once get the answers that each gets alone
    positions   what is generated unforced is the likeliest of the tokens listed for its position,
                and comes first again when the text so far is a prompt
    forced      a forced token is the one generated; its value is the listed one, twice the same
    sum         probabilities of different tokens come to no more than one
    prompt      the last token of a prompt counts, and nothing is put before it

Nothing is sent from here: `proof` yields bodies and is sent answers, so that whoever asks may wait
for these in whatever way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

from infra.engines import forced
from infra.engines.forced import Malformed, Position

Steps: TypeAlias = Generator[dict[str, Any], Any, None]
"""Bodies of requests to `/v1/completions`; each answer is sent back as JSON."""

_ABSOLUTE, _RELATIVE = 0.1, 0.01
"""How far equal things may lie apart, in nats and as a share. Values of one prompt differ a little
with what is computed beside it; those of other positions, or of biased logits, by whole nats."""

_SHORTEST = 2
_FORCED = 4
"""Listed tokens to force."""


class Unproved(Exception):
    """A server's answers contradict each other; the message says how.

    Attributes:
        answer: The one that does.
    """

    def __init__(self, text: str, answer: object = None) -> None:
        super().__init__(text)
        self.answer = answer


def prove(steps: Steps, ask: Callable[[dict[str, Any]], Any]) -> None:
    """Go through the steps of a proof with a function that asks.

    Raises:
        Unproved: The server cannot be relied on.
    """
    try:
        request = next(steps)
        while True:
            request = steps.send(ask(request))
    except StopIteration:
        return


def proof(model: str, text: Sequence[int], *, top: int = forced.TOP) -> Steps:
    """Yield what to ask.

    Args:
        model: The served model's name.
        text: Tokens of a short text, at least three.
        top: How many of the likeliest tokens to have listed.

    Raises:
        Unproved: The server cannot be relied on.
    """
    prompts = [text[:length] for length in range(_SHORTEST, len(text) + 1)]
    together = yield from _first(model, prompts, top)
    for position in together:
        _check_likeliest(position)
        _check_sum(position.known())
    if len(prompts) > 1 and all(_alike(one, together[0]) for one in together[1:]):
        raise Unproved("different prompts got the same answer", together[0].top)
    [alone] = yield from _first(model, [text], top, counted=True)
    if not _alike(alone, together[-1]):
        raise Unproved("a prompt got another answer alone than beside others", alone.top)
    yield from _forced(model, text, alone, top)
    yield from _continued(model, text, alone, top)


def _forced(
    model: str, text: Sequence[int], seen: Position, top: int
) -> Generator[dict[str, Any], Any, None]:
    listed = sorted(seen.top, key=lambda token: seen.top[token])
    values = dict(seen.top)
    unlisted = next(token for token in range(len(listed) + 1) if token not in seen.top)
    for token in (*listed[:: max(1, len(listed) // _FORCED)], seen.token, unlisted, unlisted):
        [position] = yield from _first(model, [text], top, token=token)
        if position.token != token:
            raise Unproved(f"token {token} was forced, and {position.token} generated")
        if token in values and not _near(position.value, values[token]):
            raise Unproved(
                f"the log-probability of token {token} is {values[token]:.4f}, but "
                f"{position.value:.4f} where it is forced"
            )
        _check_list(position, seen)
        values[token] = position.value
        _check_sum({**seen.top, **values})


def _check_list(forced: Position, seen: Position) -> None:
    """Refuse a list beside a forced token that is not the one without force.

    What is likeliest, and so whether a token is, is read off it.
    """
    if not _near(forced.best, seen.best):
        raise Unproved(
            f"the likeliest token has {seen.best:.4f}, and {forced.best:.4f} where another is "
            "forced: its list is not that of the model",
            forced.top,
        )
    for token, value in forced.top.items():
        if token != forced.token and token in seen.top and not _near(value, seen.top[token]):
            raise Unproved(
                f"token {token} has {seen.top[token]:.4f}, and {value:.4f} where another is "
                "forced: its list is not that of the model",
                forced.top,
            )


def _continued(
    model: str, text: Sequence[int], seen: Position, top: int
) -> Generator[dict[str, Any], Any, None]:
    answer = yield forced.body(model, [text], tokens=2, top=top)
    both = _read(answer, 1)[0]
    for position in both:
        _check_likeliest(position)
    [after] = yield from _first(model, [[*text, both[0].token]], top)
    if len(both) > 1 and not _alike(after, both[1]):
        raise Unproved("a text got another answer as a prompt than as it was generated", after.top)
    other = next((token for token in seen.top if token != both[0].token), None)
    if other is not None:
        [otherwise] = yield from _first(model, [[*text, other]], top)
        if _alike(otherwise, after):
            raise Unproved("the last token of a prompt changes nothing", after.top)


def _first(
    model: str,
    prompts: Sequence[Sequence[int]],
    top: int,
    *,
    token: int | None = None,
    counted: bool = False,
) -> Generator[dict[str, Any], Any, list[Position]]:
    """Ask for one token after each prompt, and return what is said of it."""
    answer = yield forced.body(model, prompts, token=token, top=top)
    found = _read(answer, len(prompts))
    if counted:
        usage = answer.get("usage")
        read = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if isinstance(read, int) and read != len(prompts[0]):
            raise Unproved(f"a prompt of {len(prompts[0])} tokens was read as {read}", usage)
    return [positions[0] for positions in found]


def _read(answer: Any, prompts: int) -> list[list[Position]]:
    try:
        found = forced.positions(answer, prompts)
    except Malformed as error:
        raise Unproved(f"a completion cannot be used: {error}", answer) from None
    if not all(found) or not all(position.top for positions in found for position in positions):
        raise Unproved("a completion comes without the likeliest tokens", answer)
    return found


def _check_likeliest(position: Position) -> None:
    listed = position.top.get(position.token)
    if listed is None or not _near(position.value, listed) or not _near(listed, position.best):
        raise Unproved(
            "what was generated is not what is listed as the likeliest there: log-probabilities "
            "are those of another position, or tokens are drawn by chance",
            position.known(),
        )


def _check_sum(values: dict[int, float]) -> None:
    total = sum(math.exp(min(value, 1.0)) for value in values.values())
    if total > 1 + _ABSOLUTE:
        raise Unproved(f"probabilities of different tokens come to {total:.3f}", values)


def _alike(one: Position, other: Position) -> bool:
    """Return whether two positions may be the same: what both say of a token is near."""
    here, there = one.known(), other.known()
    both = here.keys() & there.keys()
    return len(both) >= len(here) / 2 and all(_near(here[token], there[token]) for token in both)


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
