"""How closely one model's expectations follow another's, position by position."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from infra.contracts.errors import ComparisonError
from infra.contracts.records import Fidelity, Reading
from infra.probes.fidelity.positions import Positions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids: TypeAlias = NDArray[np.int32]
    Floats: TypeAlias = NDArray[np.float64]

_AT_A_TIME = 4096
"""Positions."""

_RESOLUTION = 1e-6
"""Probability below which the mass of all other tokens is rounding: one minus a sum of some twenty
numbers that the engine computes in float32."""


def compare(baseline: Reading, candidate: Reading, folder: Path) -> Fidelity:
    """Return how closely the candidate follows the baseline on the same texts.

    Args:
        baseline: What the baseline expected.
        candidate: What the candidate expected.
        folder: The run's folder, which holds both files.

    Raises:
        ComparisonError: They read different texts, a file cannot be used, or a figure is no
            finite number.
    """
    import numpy as np

    one, other = (Positions.load(folder / arm.file) for arm in (baseline, candidate))
    _require_same(baseline, candidate, one, other)
    divergence = kl_at_least(one, other)
    found = Fidelity(
        documents=len(one.lengths),
        tokens=len(one.own),
        agreement=float(agreed(one, other).mean()),
        kl_mean=float(divergence.mean()),
        kl_median=float(np.median(divergence)),
        kl_p99=float(np.quantile(divergence, 0.99)),
        top_k=one.top_k,
        perplexity_baseline=baseline.perplexity,
        perplexity_candidate=candidate.perplexity,
        texts=one.origin,
    )
    _require_finite(found)
    return found


def agreed(baseline: Positions, candidate: Positions) -> NDArray[np.bool_]:
    """Tell for each position whether both expect the same token first.

    In 16 bits two tokens are often equally likely, and their order is chance: it is enough that
    one token is among the likeliest of both.
    """
    import numpy as np

    return np.concatenate([_agreed(*part) for part in _parts(baseline, candidate)])


def kl_at_least(baseline: Positions, candidate: Positions) -> NDArray[np.float64]:
    """Return a lower bound of the Kullback-Leibler divergence at each position, nats.

    Wanted is D(P‖Q) = Σ P(t) log(P(t) / Q(t)) over the whole vocabulary, P of the baseline and Q
    of the candidate. Known are the likeliest tokens of each. So all tokens that are not listed
    on both sides count as one, whose probability is what the listed ones leave: those that the
    baseline lists and the candidate does not are in it too, on both sides.

    Counting tokens as one never raises the divergence: by the log-sum inequality
    Σ a log(a / b) ≥ (Σ a) log(Σ a / Σ b) (Cover and Thomas, *Elements of Information Theory*, 2nd
    edition, theorem 2.7.1); it is the data-processing inequality for the function that maps these
    tokens to one. The true divergence is therefore this or more, at every position and so in mean,
    median and every quantile.

    Where the rest of a side is smaller than its own rounding error it is taken to be as large as
    that, which moves the figure by about 1e-6 nats.
    """
    import numpy as np

    return np.concatenate([_kl_at_least(*part) for part in _parts(baseline, candidate)])


def _agreed(
    baseline: Ids, base_logprobs: Floats, candidate: Ids, quantized_logprobs: Floats
) -> NDArray[np.bool_]:
    first = base_logprobs >= base_logprobs.max(1, keepdims=True)
    second = quantized_logprobs >= quantized_logprobs.max(1, keepdims=True)
    same = baseline[:, :, None] == candidate[:, None, :]
    found: NDArray[np.bool_] = (same & first[:, :, None] & second[:, None, :]).any((1, 2))
    return found


def _kl_at_least(
    baseline: Ids, base_logprobs: Floats, candidate: Ids, quantized_logprobs: Floats
) -> Floats:
    import numpy as np

    same = baseline[:, :, None] == candidate[:, None, :]
    shared = same.any(2)
    matching = np.take_along_axis(quantized_logprobs, same.argmax(2), 1)
    ours = np.where(shared, np.exp(base_logprobs), 0.0)
    theirs = np.where(shared, np.exp(matching), 0.0)
    terms = ours * (base_logprobs - matching)
    rest, their_rest = (np.clip(1.0 - p.sum(1), _RESOLUTION, 1.0) for p in (ours, theirs))
    found: Floats = terms.sum(1) + rest * np.log(rest / their_rest)
    return np.maximum(found, 0.0)  # it is never negative, but rounding is


def _parts(baseline: Positions, candidate: Positions) -> Iterator[tuple[Ids, Floats, Ids, Floats]]:
    """Yield ids and log-probabilities of both, a few positions at a time.

    Every token of one side is held against every token of the other, which takes room.
    """
    import numpy as np

    for start in range(0, len(baseline.ids), _AT_A_TIME):
        here = slice(start, start + _AT_A_TIME)
        yield (
            baseline.ids[here], baseline.logprobs[here].astype(np.float64),
            candidate.ids[here], candidate.logprobs[here].astype(np.float64),
        )  # fmt: skip


def _require_finite(found: Fidelity) -> None:
    figures = found.model_dump(exclude={"documents", "tokens", "top_k", "texts"})
    for name, value in figures.items():
        if not math.isfinite(value):
            raise ComparisonError(
                f"The arms cannot be compared on the fidelity texts: {name} is {value}.",
                cause="An arm gave a token of the texts no probability that is a number.",
                remedy="Run the evaluation again.",
                field=name,
            )


def _require_same(baseline: Reading, candidate: Reading, one: Positions, other: Positions) -> None:
    for arm, found in ((baseline, one), (candidate, other)):
        if arm.texts != found.texts:
            raise ComparisonError(
                f"{arm.file} does not hold the texts that were read.",
                cause="The file was changed after the evaluation.",
                remedy="Run the evaluation again.",
                field="reading",
            )
    if baseline.texts != candidate.texts:
        raise ComparisonError(
            f"The arms read different fidelity texts: {baseline.tokens} and {candidate.tokens} "
            "tokens to predict.",
            cause="Their tokenizers differ, or one was served with a shorter window than the "
            "texts are long.",
            remedy="Lower fidelity.max_tokens, or evaluate both arms again with the same spec.",
            field="texts",
        )
    if one.top_k != other.top_k:
        raise ComparisonError(
            f"The arms kept different numbers of likely tokens: {one.top_k} and {other.top_k}.",
            remedy="Evaluate both arms again with the same fidelity.top_k.",
            field="top_k",
        )
