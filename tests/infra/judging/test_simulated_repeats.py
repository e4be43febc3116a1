"""A short run of the study of repeats; `python -m tests.simulate_repeats` is the long one."""

from __future__ import annotations

import numpy as np
import pytest

from infra.judging.statistics import effects, repeated
from tests.simulate_repeats import in_nats, in_points


def test_errors_keep_to_their_levels(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    assert in_points(rng, 100, [60], [4])
    assert in_nats(rng, 60, [60], [4])
    assert capsys.readouterr().out.count("| 60 | 4 |") == 2


def test_answers_that_count_as_rows_of_their_own_would_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the test above rests on: repeats of a question are no news of other questions."""
    limits = repeated.question_limits

    def by_answer(differences: list[float], confidence: float) -> effects.Limits:
        return limits([each for each in differences for _ in range(4)], confidence)

    monkeypatch.setattr(repeated, "question_limits", by_answer)
    assert not in_points(np.random.default_rng(3), 100, [60], [4])
