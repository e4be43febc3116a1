"""What is the matter with this machine: everything looked at at once, each with a deadline.

looking    all checks side by side, and what does not answer in time
machine    accelerators, environments, memory, ports
store      disk, leases, what is kept
elsewhere  hubs, and the clock beside theirs
"""

from __future__ import annotations

from infra.housekeeping.doctor.looking import Check, looked_at

__all__ = ["Check", "looked_at"]
