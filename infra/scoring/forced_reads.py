"""Reads on a server that says of one token how likely it was: the one that it is made to generate.

Beside it the server lists the likeliest tokens, so that one request mostly answers for all choices
of a question; a token that is not among them takes a request of its own. Values of both are of the
same logits.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from infra.engines import forced
from infra.engines.forced import Malformed, Position
from infra.scoring.plan import Answer, Read, Score
from infra.scoring.tokens import unpack

_ABOVE = 0.01
"""Nats by which a token may be likelier than the likeliest: no more than two sums are apart."""


def steps(
    model: str, reads: Sequence[Read], *, seed: int
) -> Generator[dict[str, Any], Any, list[Answer]]:
    """Yield bodies of requests until all tokens were read; return what was found, in order.

    Args:
        model: The served model's name.
        reads: What to read. Those that want the same tokens share requests.
        seed: Sent along.

    Raises:
        Malformed: An answer does not fit.
    """
    found: list[dict[int, Score]] = [{} for _ in reads]
    for token in sorted({token for read in reads for token in read.wanted}):
        places = [
            number
            for number, read in enumerate(reads)
            if token in read.wanted and token not in found[number]
        ]
        if not places:
            continue
        prompts = [unpack(reads[number].prompt) for number in places]
        answer = yield forced.body(model, prompts, token=token, seed=seed)
        for number, positions in zip(places, forced.positions(answer, len(places)), strict=True):
            found[number].update(_scores(token, positions, reads[number].wanted))
    return [
        {token: scores[token] for token in read.wanted}
        for read, scores in zip(reads, found, strict=True)
    ]


def _scores(token: int, positions: Sequence[Position], wanted: Sequence[int]) -> dict[int, Score]:
    if not positions or not positions[0].top:
        raise Malformed("the likeliest tokens are missing")
    position = positions[0]
    if position.token != token:
        raise Malformed(f"token {token} was forced, and {position.token} generated")
    if position.value > position.best + _ABOVE:
        raise Malformed(f"token {token} is likelier than the likeliest: its bias counts as well")
    values = position.known()
    return {one: (values[one], values[one] >= position.best) for one in wanted if one in values}
