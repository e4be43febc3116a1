"""The random numbers that task code draws, as lm-eval's command line seeds them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

_PYTHON_SEED, _NUMPY_SEED = 0, 1234
"""As lm-eval's `simple_evaluate` sets them."""

Numbers: TypeAlias = tuple[Any, Any]
"""The states of Python's generator and of numpy's."""


def numbers() -> Numbers:
    """Return the states of the generators that all code shares."""
    return random.getstate(), np.random.get_state()


def set_numbers(states: Numbers) -> None:
    """Set them to what they were once."""
    random.setstate(states[0])
    np.random.set_state(states[1])


@contextmanager
def seeded() -> Iterator[None]:
    """Seed the generators as the stock command line does, and put them back."""
    before = numbers()
    random.seed(_PYTHON_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        yield
    finally:
        set_numbers(before)
