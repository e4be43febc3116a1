"""How many rows flip by the noise of the candidate alone, given how close their choices are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from infra.judging.gaps.reading import ChoiceRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

FEWEST = 10
"""Rows of a task: with fewer their noise is hardly known."""

_MOST = 10_000
"""Rows whose noise is taken, evenly spaced over the task: time grows with their number. Of tasks of
more than twice as many rows the range is a little too narrow."""

_AT_A_TIME = 2**15
"""Rows by noises that are looked at together."""

_ROUNDING = 1e-9
"""Of what a choice is worth: ties are no flips, on no machine."""


@dataclass(frozen=True, slots=True)
class Chance:
    """Of one row."""

    changed: float
    """That another choice is taken."""

    flip: float | None
    """That it is lost or gained; none if it is not to be found out which choices are right."""


def chances(rows: Sequence[ChoiceRow]) -> list[Chance | None]:
    """Return how likely each row flips, if noise has nothing to do with who is close.

    With b and c what the choices of a row are worth in the baseline and in the candidate, each less
    its mean over the choices, the candidate is taken to be

        c = a b + e        a = sum(b c) / sum(b b), over all choices of all rows

    a below 1: its gaps have shrunk. The noise e of a row has one number a choice. A row i flips
    with noise e if the best of a b_i + e is wrong where that of b_i was right, or the other way
    round; its chance is how often it flips with the noise of the other rows,

        p_i = 1 / (n - 1) * sum over j other than i of [row i flips with e_j]

    which takes no shape of the noise for granted, and leaves what the noise has in common over
    rows (a liking for A) in its place. N. Duan (1983), "Smearing estimate: a nonparametric
    retransformation method", Journal of the American Statistical Association 78, 605-610, averages
    over residuals like this. No row predicts itself: its own e is left out, and its b and c are
    left out of a, in its own line and in the residuals of that line. That small gaps are what
    flips under quantization was shown by A. Dutta, S. Krishnan, N. Kwatra & R. Ramjee (2024),
    "Accuracy is not all you need", NeurIPS 37.

    Rows with fewer choices take as many of the first numbers of e.

    Args:
        rows: Of one task.

    Returns:
        Each row's chances, in their order; none for rows that no other has as many choices as, and
        for all of fewer than `FEWEST` rows.
    """
    found: list[Chance | None] = [None] * len(rows)
    if len(rows) < FEWEST:
        return found
    factors, factor = _factors(rows)
    for count in sorted({len(row.baseline) for row in rows}):
        members = [n for n, row in enumerate(rows) if len(row.baseline) == count]
        partners = [n for n, row in enumerate(rows) if len(row.baseline) >= count]
        if len(partners) < 2:
            continue
        partners = partners[:: -(-len(partners) // _MOST)]
        own = [factors[n] for n in members]
        of = _counts([rows[n] for n in members], own, factor, members, partners, rows)
        taken = {*partners}
        for n, changed, flip in zip(members, *of, strict=True):
            clear = rows[n].right is not None
            others = len(partners) - (n in taken)
            found[n] = Chance(float(changed) / others, float(flip) / others if clear else None)
    return found


def slope(rows: Sequence[ChoiceRow]) -> float | None:
    """Return a of `chances`: what is left of the baseline's gaps; none for too few rows."""
    return _factors(rows)[1] if len(rows) >= FEWEST else None


def _factors(rows: Sequence[ChoiceRow]) -> tuple[list[float], float]:
    """Return a without each row, and with all."""
    crossed, squared = [], []
    for row in rows:
        one, other = _centred(row.baseline), _centred(row.candidate)
        crossed.append(math.fsum(b * c for b, c in zip(one, other, strict=True)))
        squared.append(math.fsum(b * b for b in one))
    above, below = math.fsum(crossed), math.fsum(squared)

    def ratio(over: float, under: float) -> float:
        return over / under if under > _ROUNDING * below else 1.0  # a baseline that prefers nothing

    without = zip(crossed, squared, strict=True)
    return [ratio(above - one, below - other) for one, other in without], ratio(above, below)


def _centred(worth: Sequence[float]) -> list[float]:
    mean = math.fsum(worth) / len(worth)
    return [one - mean for one in worth]


def _counts(
    rows: Sequence[ChoiceRow],
    factors: Sequence[float],
    factor: float,
    places: Sequence[int],
    partners: Sequence[int],
    everyone: Sequence[ChoiceRow],
) -> tuple[Array, Array]:
    """Return with the noise of how many others each row takes another choice, and flips.

    Args:
        rows: All with as many choices.
        factors: a without each of them.
        factor: a.
        places: Their places in `everyone`.
        partners: Places in `everyone` of rows with at least as many choices.
        everyone: All rows of the task.
    """
    import numpy as np

    count = len(rows[0].baseline)
    a = np.array(factors)
    line = a * np.array([_centred(row.baseline) for row in rows]).T
    reach = a * np.array([row.gap for row in rows])
    at = np.full(len(everyone), -1)
    at[[*places]] = np.arange(len(rows))
    own = at[[*partners]]
    other = np.array([_centred(everyone[j].baseline[:count]) for j in partners]).T
    noisy = np.array([_centred(everyone[j].candidate[:count]) for j in partners]).T
    noise, slack = noisy - factor * other, np.abs(a - factor).max() * np.ptp(other, axis=0)
    changed, flips = np.zeros(len(rows)), np.zeros(len(rows))
    for (pick, right, was_right), members in _alike(rows).items():
        # Noise that lifts no choice above the answer by a row's gap changes nothing there: rows in
        # the order of their gaps, and of each noise only those that it can reach.
        mine = np.array(members)[np.argsort(reach[members], kind="stable")]
        spread = noise.max(axis=0) - noise[pick] + slack + _ROUNDING
        reached = np.searchsorted(reach[mine], spread, side="right")
        order = np.argsort(-reached, kind="stable")
        while len(order) and (most := reached[order[0]]):
            near = mine[:most]
            taken, order = np.split(order, [max(1, _AT_A_TIME // most)])
            # a b_i + e_j, where e_j is what is left of j's c by the a that is without i.
            worth = line[:, None, near] + (noisy[:, taken, None] - a[near] * other[:, taken, None])
            moved = worth.max(axis=0) - worth[pick] > _ROUNDING
            moved &= own[taken, None] != near
            changed[near] += moved.sum(axis=0)
            if 0 < len(right) < count:
                # What is right by another choice than the baseline's answer has flipped.
                best, rest = worth[[*right]], np.delete(worth, right, axis=0)
                lead = best.max(axis=0) - rest.max(axis=0)
                moved &= lead < -_ROUNDING if was_right else lead > _ROUNDING
                flips[near] += moved.sum(axis=0)
    return changed, flips


def _alike(rows: Sequence[ChoiceRow]) -> dict[tuple[int, tuple[int, ...], bool], list[int]]:
    """Return the places of rows that were answered alike, and have the same right choices."""
    found = defaultdict[tuple[int, tuple[int, ...], bool], list[int]](list)
    for place, row in enumerate(rows):
        found[row.pick, tuple(sorted(row.right or ())), row.was_right].append(place)
    return found
