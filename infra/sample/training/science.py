"""Science questions with numerical options, in the manner of GPQA."""

from __future__ import annotations

import random

from infra.sample.training import biology, chemistry, physics
from infra.sample.training.items import Choice
from infra.sample.training.numerical import KINDS, LEVELS

DOMAINS = (physics, chemistry, biology)
"""The modules whose import fills `KINDS`."""


def science_question(rng: random.Random, level: int | None = None) -> Choice:
    """Draws a question; every kind is equally likely.

    Args:
        rng: The source of chance.
        level: How large the numbers are; drawn from `LEVELS` when left out.
    """
    return rng.choice(KINDS)(rng, level or rng.choice(LEVELS))
