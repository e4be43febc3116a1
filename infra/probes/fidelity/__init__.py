"""How closely the candidate follows the baseline, beyond right and wrong.

texts      what both models read
reading    what a served model expects next, at every position
positions  the same as arrays and as a file
comparing  agreement, divergence, perplexity
lengths    how long the written answers are
probe      one arm's reading: made once, kept for later runs
"""

from __future__ import annotations

from infra.probes.fidelity.comparing import compare
from infra.probes.fidelity.probe import ReadingProbe

__all__ = ["ReadingProbe", "compare"]
