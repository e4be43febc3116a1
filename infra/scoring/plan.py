"""Decides what to ask the server to score continuations, at the least cost.

A *read* asks for the probabilities of the token that follows a prompt: one generated token, with
the log-probabilities of exactly the tokens we want. Continuations of one context form a tree; each
inner node of it is one read, so four one-token choices cost one. An *echo* sends context and
continuation and has the server score every token of both: it skips the prefix cache and its answer
is large, but it needs one request however long the continuation is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from infra.scoring.tokens import WIDTH, Packed, count, shared, unpack

READ_COST = 64
"""What one more read costs, in prompt tokens computed: the request itself and the part of its
prompt that does not fill a block of the prefix cache. Measured between 40 and 100 on a CPU server,
less on a GPU."""

ECHO_TOKEN_COST = 2
"""What a token of an echo costs, in prompt tokens computed: scoring a token and writing its
probabilities out takes the server at least as long again as computing it."""

MAX_WANTED = 20
"""Tokens a read may ask for: the engine's own default bound (`--max-logprobs`)."""


@dataclass(frozen=True, slots=True)
class Read:
    """The probabilities of some tokens after a prompt."""

    prompt: Packed
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Echo:
    """The probability of every token of a prompt from `start` on."""

    prompt: Packed
    start: int


Item: TypeAlias = Read | Echo
Score: TypeAlias = tuple[float, bool]
"""Log-probability (nats) and whether it is the highest of all tokens, or the sum and conjunction of
these over a continuation."""

Answer: TypeAlias = Mapping[int, Score] | Score
"""Of a read: token → score. Of an echo: the score of everything from `start` on."""


@dataclass(frozen=True, slots=True)
class Group:
    """One context with all its continuations, and the questions that score them."""

    context: Packed
    continuations: tuple[Packed, ...]
    items: tuple[Item, ...]

    def scores(self, answers: Mapping[Item, Answer]) -> list[Score]:
        """Return the score of each continuation, given the answers to all items.

        Terms are added up in token order by `sum`, as in stock, so that equal terms give the very
        same number.
        """
        echoes = {item.prompt: answers[item] for item in self.items if isinstance(item, Echo)}
        reads: dict[Packed, dict[int, Score]] = {}
        for item in self.items:
            if isinstance(item, Read):
                reads.setdefault(item.prompt, {}).update(answers[item])  # type: ignore[arg-type]
        scores: list[Score] = []
        for continuation in self.continuations:
            whole = self.context + continuation
            if whole in echoes:
                scores.append(echoes[whole])  # type: ignore[arg-type]
                continue
            steps = [reads[prompt][token] for prompt, token in _steps(self.context, continuation)]
            scores.append(
                (sum(term for term, _ in steps), all(likeliest for _, likeliest in steps))
            )
        return scores


def plan(
    pairs: Iterable[tuple[Packed, Packed]], *, reads: bool = True, echoes: bool = True
) -> tuple[list[Group], list[tuple[int, int]]]:
    """Return what to ask, contexts that share a beginning next to each other.

    Args:
        pairs: Context and continuation of each request; the context has at least one token.
        reads: Whether the server can read chosen tokens; if not, everything is echoed.
        echoes: Whether it can echo; if not, everything is read.

    Returns:
        The groups in the order to ask them, and for each request its group and its place in it.
    """
    contexts: dict[Packed, dict[Packed, int]] = {}
    places = []
    for context, continuation in pairs:
        places_of = contexts.setdefault(context, {})
        places.append((context, places_of.setdefault(continuation, len(places_of))))
    groups: list[Group] = []
    number: dict[Packed, int] = {}
    before = b""
    for context in sorted(contexts):
        continuations = tuple(contexts[context])
        number[context] = len(groups)
        items = items_of(
            context, continuations, shared(before, context), reads=reads, echoes=echoes
        )
        groups.append(Group(context, continuations, tuple(items)))
        before = context
    return groups, [(number[context], place) for context, place in places]


def items_of(
    context: Packed,
    continuations: Sequence[Packed],
    cached: int,
    *,
    reads: bool = True,
    echoes: bool = True,
) -> list[Item]:
    """Return the cheaper of the token tree and the echoes.

    The tree computes what is not cached of the context once, and pays `READ_COST` for each further
    read; echoes compute context and continuation of each choice anew at `ECHO_TOKEN_COST` a token.

    Args:
        context: What comes before.
        continuations: Distinct continuations.
        cached: Tokens of the context that the server has computed for its neighbour.
        reads: Whether the server can read chosen tokens.
        echoes: Whether it can echo.
    """
    wanted: dict[Packed, dict[int, None]] = {}
    for continuation in continuations:
        for prompt, token in _steps(context, continuation):
            wanted.setdefault(prompt, {})[token] = None
    tree = [
        Read(prompt, tokens)
        for prompt, found in sorted(wanted.items())
        for tokens in _portions(tuple(sorted(found)))
    ]
    tree_cost = count(context) - cached + READ_COST * len(tree)
    whole = [context + continuation for continuation in continuations if continuation]
    echo_cost = sum(ECHO_TOKEN_COST * count(prompt) + READ_COST for prompt in whole)
    if reads and (tree_cost <= echo_cost or not echoes):
        return list(tree)
    return [Echo(prompt, count(context)) for prompt in whole]


def _steps(context: Packed, continuation: Packed) -> Iterator[tuple[Packed, int]]:
    """Yield for each token of a continuation what comes before it, and the token."""
    for number, token in enumerate(unpack(continuation)):
        yield context + continuation[: number * WIDTH], token


def _portions(tokens: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(tokens), MAX_WANTED):
        yield tokens[start : start + MAX_WANTED]
