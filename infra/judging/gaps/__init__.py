"""How close the choices of a row are, in both arms: what a score does not show before it breaks.

comparing   gaps of both arms, and the flips that they let expect
predicting  how likely each row flips by noise
reading     rows with choices, by the metric that is judged
"""

from __future__ import annotations

from infra.judging.gaps.comparing import compare

__all__ = ["compare"]
