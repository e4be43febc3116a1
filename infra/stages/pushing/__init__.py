"""A checkpoint that passed, put on a hub: the files that were judged, its model card, its receipt.

Nothing but a PASS of that very checkpoint is pushed: the report has to hold, and every file has to
be the one that was served. What is on the hub afterwards is held against what was sent.

    planning   what would be put where, or why it may not be; nothing is sent
    sending    it is put there
"""

from __future__ import annotations

from infra.stages.pushing.planning import Push, plan
from infra.stages.pushing.sending import push

__all__ = ["Push", "plan", "push"]
