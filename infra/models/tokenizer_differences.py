"""How two tokenizers differ, in some sentences for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from infra.models.tokenizer_identity import (
    ADDED,
    AROUND,
    DECODING,
    FILES,
    MERGES,
    NAMES,
    SPLITTING,
    TEMPLATE,
    VOCABULARY,
    TokenizerIdentity,
)

_NAMED = 3
_LONGEST = 60
_BEFORE = 12
"""Characters shown before the first that differs."""


def differences(
    ours: TokenizerIdentity,
    theirs: TokenizerIdentity,
    names: tuple[str, str] = ("the baseline's", "the candidate's"),
) -> tuple[str, ...]:
    """Return how two tokenizers differ, one sentence a part; none if they are the same.

    Args:
        ours: The first.
        theirs: The second.
        names: Of both, for the sentences.
    """
    if FILES in ours.parts or FILES in theirs.parts:
        same = ours.digest == theirs.digest
        return () if same else ("their files differ, and one of them cannot be loaded",)
    return tuple(
        f"{part}: {_HOW[part](ours.parts.get(part), theirs.parts.get(part), names)}"
        for part, same in ours.same(theirs).items()
        if not same
    )


def _vocabulary(one: Mapping[str, Any], two: Mapping[str, Any], names: tuple[str, str]) -> str:
    parts = []
    if len(one) != len(two):
        parts.append(f"{len(one):,} and {len(two):,} tokens")
    for name, here, there in ((names[0], one, two), (names[1], two, one)):
        if only := [token for token in here if token not in there]:
            parts.append(f"{len(only):,} only {name} ({_some(only)})")
    if moved := [token for token, id in one.items() if token in two and two[token] != id]:
        parts.append(f"{len(moved):,} with another id ({_some(moved)})")
    return ", ".join(parts)


def _merges(one: Sequence[Any], two: Sequence[Any], names: tuple[str, str]) -> str:
    first = next(i for i, (a, b) in enumerate(zip_longest(one, two)) if a != b)
    pairs = [
        f"{name} {' + '.join(map(_shown, merges[first]))}"
        for name, merges in zip(names, (one, two), strict=True)
        if first < len(merges)
    ]
    counts = f"{len(one):,} and {len(two):,}, " if len(one) != len(two) else ""
    return f"{counts}the first that differs is number {first + 1:,} ({', '.join(pairs)})"


def _steps(one: Mapping[str, Any], two: Mapping[str, Any], names: tuple[str, str]) -> str:
    found = []
    for key in dict.fromkeys([*one, *two]):
        before, after = one.get(key), two.get(key)
        if before == after:
            continue
        kinds = [_kind(value) for value in (before, after)]
        what = key.replace("_", " ")
        if kinds[0] != kinds[1]:
            found.append(f"{what} is {kinds[0]} in {names[0]} and {kinds[1]} in {names[1]}")
        else:
            found.append(f"{what} {kinds[0]} has other settings")
    return "; ".join(found)


def _kind(step: Any) -> str:
    """Return the name of a step, with those it consists of."""
    if not isinstance(step, Mapping):
        return "nothing" if step is None else str(step)
    lists = [value for key, value in step.items() if key.endswith(("izers", "ers", "ors"))]
    inner = [_kind(one) for value in lists if isinstance(value, list) for one in value]
    kind = str(step.get("type", "a step"))
    return f"{kind} ({', '.join(inner)})" if inner else kind


def _added(one: Sequence[Any], two: Sequence[Any], names: tuple[str, str]) -> str:
    tables = [{token["content"]: token for token in tokens} for tokens in (one, two)]
    parts = []
    for name, here, there in ((names[0], *tables), (names[1], *reversed(tables))):
        if only := [token for token in here if token not in there]:
            parts.append(f"{len(only):,} only {name} ({_some(only)})")
    both = [token for token in tables[0] if token in tables[1]]
    if changed := [token for token in both if tables[0][token] != tables[1][token]]:
        fields = {
            field
            for token in changed
            for field, value in tables[0][token].items()
            if tables[1][token].get(field) != value
        }
        parts.append(
            f"{len(changed):,} with another {', '.join(sorted(fields))} ({_some(changed)})"
        )
    return ", ".join(parts)


def _around(one: Sequence[Any], two: Sequence[Any], names: tuple[str, str]) -> str:
    said = []
    for name, (before, after) in zip(names, (one, two), strict=True):
        parts = [f"{' '.join(before)} before"] if before else []
        parts += [f"{' '.join(after)} after"] if after else []
        said.append(f"{name} puts {' and '.join(parts) or 'nothing around'}")
    return ", ".join(said)


def _tokens(one: Mapping[str, Any], two: Mapping[str, Any], names: tuple[str, str]) -> str:
    return ", ".join(
        f"{key} is {_quoted(one.get(key))} in {names[0]} and {_quoted(two.get(key))} in {names[1]}"
        for key in dict.fromkeys([*one, *two])
        if one.get(key) != two.get(key)
    )


def _template(one: Mapping[str, str], two: Mapping[str, str], names: tuple[str, str]) -> str:
    if not (one and two):
        return f"only {names[0] if one else names[1]} is there"
    if one.keys() != two.keys():
        return f"{names[0]} are named {', '.join(one)}, {names[1]} {', '.join(two)}"
    name = next(name for name in one if one[name] != two[name])
    lines = list(zip_longest(one[name].split("\n"), two[name].split("\n")))
    number, (first, second) = next((i, pair) for i, pair in enumerate(lines, 1) if len({*pair}) > 1)
    which = f"{name}, " if len(one) > 1 else ""
    start = max(0, _common(first or "", second or "") - _BEFORE)
    shown = ["the end" if line is None else _shown(line[start:]) for line in (first, second)]
    return (
        f"{which}{len(one[name]):,} and {len(two[name]):,} characters, differing first in line "
        f"{number} at {shown[0]} and {shown[1]}"
    )


def _common(one: str, two: str) -> int:
    """Return how many characters two lines begin with together."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(two)))


def _some(tokens: Sequence[str]) -> str:
    more = ", …" if len(tokens) > _NAMED else ""
    return ", ".join(map(_shown, tokens[:_NAMED])) + more


def _quoted(token: str | None) -> str:
    return "not set" if token is None else _shown(token)


def _shown(text: Any) -> str:
    text = str(text)
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


_HOW: Mapping[str, Callable[[Any, Any, tuple[str, str]], str]] = {
    VOCABULARY: _vocabulary, MERGES: _merges, SPLITTING: _steps, ADDED: _added, AROUND: _around,
    NAMES: _tokens, DECODING: _steps, TEMPLATE: _template,
}  # fmt: skip
