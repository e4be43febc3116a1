"""Which wrong answers are shown before another one, as worked examples."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_Group = tuple[str, int, str]
"""What is shared (`construct`, `subject`), whether id (0) or name (1) say so, and which one."""


@dataclass(frozen=True)
class Wrong:
    """A wrong answer to a question."""

    question: str
    """Id of the question."""

    letter: str
    subject: tuple[str, str]
    """Id and name."""

    construct: tuple[str, str]
    text: str
    right: str
    answer: str
    misconception: str = ""
    """Id; empty if it is not known."""

    @property
    def name(self) -> str:
        """What a submission calls it."""
        return f"{self.question}_{self.letter}"


class Pool:
    """Wrong answers with their misconceptions, found by what they share with another one.

    Of a long file each one has to be found without looking at all others.
    """

    def __init__(self, examples: Iterable[Wrong]) -> None:
        """Sort examples; in which order they come decides nothing."""
        once = {one.name: one for one in examples}
        self._all = [once[name] for name in sorted(once)]
        self._alike: dict[_Group, list[Wrong]] = defaultdict(list)
        for one in self._all:
            for by in ("construct", "subject"):
                for place, value in enumerate(getattr(one, by)):
                    self._alike[by, place, value].append(one)

    def __bool__(self) -> bool:
        return bool(self._all)

    def alike(self, wrong: Wrong, by: str) -> Sequence[Wrong]:
        """Return those that share something with an answer, by its id or else by its name.

        Args:
            wrong: The answer.
            by: `construct`, `subject`, or `any` for all there are.
        """
        if by == "any":
            return self._all
        number, name = getattr(wrong, by)
        if not (number or name):
            return ()
        return self._alike.get((by, 0, number) if number else (by, 1, name), ())


def examples_for(
    wrong: Wrong, pool: Pool, shots: int, fallback: str
) -> Iterator[tuple[Wrong, str]]:
    """Yield what is shown before a wrong answer, and by what each was found.

    Those of the same construct come first, then those of the same subject, then any others, if the
    fallback allows them; among equals a lot decides that is always the same. None is of the same
    question, by its id or by its text, and no question is shown twice.

    Args:
        wrong: The answer that is asked about.
        pool: Wrong answers with their misconceptions.
        shots: How many are shown at most.
        fallback: `any`, or `none`.
    """
    taken: set[str] = set()
    for by in ("construct", "subject", "any")[: 3 if fallback == "any" else 2]:
        if len(taken) >= shots:
            return
        for one in _by_lot(pool.alike(wrong, by), f"{wrong.name} {by}"):
            own = one.question == wrong.question or one.text == wrong.text
            if not own and one.question not in taken:
                taken.add(one.question)
                yield one, by
            if len(taken) >= shots:
                return


def _by_lot(items: Sequence[Wrong], asked: str) -> Iterator[Wrong]:
    """Yield items in an order by lot, drawn one after the other: few are taken of many."""
    lot, moved = random.Random(asked), dict[int, int]()  # noqa: S311 -- not for secrets
    for place in range(len(items)):
        drawn = lot.randrange(place, len(items))
        yield items[moved.get(drawn, drawn)]
        moved[drawn] = moved.get(place, place)
