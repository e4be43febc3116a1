"""Judges what the candidate answers, by what the baseline answered to the same prompts.

A model may loop, or write until it is cut off, on strange prompts without being broken: what counts
is how much more often the candidate does.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from infra.contracts.records import Check, Record, Side
from infra.engines.port import Kernels
from infra.probes.triage.answers import ANSWER_TOKENS, Answer, Reading

KERNEL, EMPTY, LOOPS, ENDLESS = "kernel", "empty answers", "looping answers", "endless answers"
AGREEMENT, CALIBRATION = "agreement with the baseline", "calibration text"

LEAST_READABLE = -5.0
"""Nats a token. Conversations are read at -1 to -3; random characters have at least four and a half
nats each, and tokens of several of them more: -12.6 in the sample model."""

_ENOUGH_ENDINGS = 8
_MORE_SHARE, _MORE_LEAST = 0.25, 2
"""So many more answers than the baseline's, of all, may be bad: by chance one or two are."""


class Baseline(Record):
    """The baseline's answers, and how it reads them and their prompts."""

    answers: tuple[Answer, ...]
    logprob: float
    """Mean over the tokens of its answers, nats."""

    prompt_logprob: float
    """Mean over the tokens of the prompts, nats."""

    @classmethod
    def of(cls, answers: Sequence[Answer], readings: Sequence[Reading]) -> Baseline:
        """Put together what the baseline wrote and read."""
        return cls(
            answers=tuple(answers),
            logprob=_mean_logprob(readings),
            prompt_logprob=prompt_logprob(readings),
        )


def kernel(name: str | None, engines: Kernels) -> Check:
    """Tell whether the engine's kernel for quantized layers is a fast one.

    A slow one, or one not known here, changes no score: it is reported and stops nothing.

    Args:
        name: As the engine's log has it.
        engines: Those that it has.
    """
    names = set((name or "").split(", ")) - {""}
    if not names:
        found = "not named in the engine's log"
    elif names <= engines.fast | engines.slow:
        found = ", ".join(sorted(names))
    else:
        found = f"{name} (not known here)"
    return Check(name=KERNEL, value=found, wanted="a fast one", ok=not names & engines.slow)


def calibration(nats: float, side: Side) -> Check:
    """Tell whether a model makes sense of the conversations of the calibration set."""
    return Check(
        name=CALIBRATION,
        value=f"{nats:.2f} nats a token to the {side}",
        wanted=f"at least {LEAST_READABLE:g}",
        ok=nats >= LEAST_READABLE,
    )


def answers(baseline: Sequence[Answer], ours: Sequence[Answer]) -> tuple[Check, ...]:
    """Compare how many answers of each arm are empty, loop, or do not end."""
    ending = [place for place, answer in enumerate(baseline) if answer.ended]
    endless = sum(not ours[place].ended for place in ending)
    return (
        _counted(EMPTY, sum(a.empty for a in baseline), sum(a.empty for a in ours), len(baseline)),
        _counted(LOOPS, sum(a.loops for a in baseline), sum(a.loops for a in ours), len(baseline)),
        Check(
            name=ENDLESS,
            value=f"{endless} of {len(ending)} that the baseline ends within "
            f"{ANSWER_TOKENS} tokens",
            wanted=f"at most {max(len(ending) // 2, _MORE_LEAST)}",
            # Where hardly any answer of the baseline ends, those near the limit say nothing.
            ok=len(ending) < _ENOUGH_ENDINGS or endless <= max(len(ending) // 2, _MORE_LEAST),
        ),
    )


def agreement(baseline: Baseline, readings: Sequence[Reading], least: float) -> tuple[Check, float]:
    """Compare next tokens along the baseline's own answers; return the share too."""
    agreed = [same for reading in readings for same in reading.greedy]
    share = fmean(agreed) if agreed else 1.0
    check = Check(
        name=AGREEMENT,
        value=f"{share:.3f} of {len(agreed):,} next tokens; mean log-probability "
        f"{_mean_logprob(readings):.3f}, the baseline's {baseline.logprob:.3f}",
        wanted=f"at least {least:g}",
        ok=share >= least,
    )
    return check, share


def judged(check: Check, share: float | None, least: float) -> Check:
    """Return a check of an earlier look, held against a bound of today.

    Args:
        check: What was found.
        share: Of next tokens on which both models agreed; none if that was not measured.
        least: Share that is wanted now.
    """
    if check.name != AGREEMENT or share is None:
        return check
    return check.model_copy(update={"wanted": f"at least {least:g}", "ok": share >= least})


def not_compared(why: str) -> Check:
    """Tell that there was nothing to compare answers with."""
    return Check(name=AGREEMENT, value=f"not asked: {why}", wanted="-", ok=True)


def _counted(name: str, baseline: int, ours: int, total: int) -> Check:
    most = baseline + max(int(_MORE_SHARE * total), _MORE_LEAST)
    return Check(
        name=name,
        value=f"{ours} of {total}, {baseline} of the baseline",
        wanted=f"at most {most}",
        ok=ours <= most,
    )


def prompt_logprob(readings: Sequence[Reading]) -> float:
    """Return the mean log-probability of a token of the prompts, nats."""
    tokens = sum(reading.prompt_tokens for reading in readings)
    return sum(reading.prompt for reading in readings) / max(1, tokens)


def _mean_logprob(readings: Sequence[Reading]) -> float:
    values = [value for reading in readings for value in reading.logprobs]
    return fmean(values) if values else 0.0
