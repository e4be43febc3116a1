"""What the accelerators of one server take, by the counters of their driver (NVML).

A counter is of a whole board: what its memory and its fans take is in it, idle or not, and nothing
of the processor, the main memory or the power supply. It moves about every tenth of a second. Where
a board is divided (MIG), or others compute on it too, nobody can tell whose the energy is, and
nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from infra.machine import nvml
from infra.machine.accelerators import GPU, Slots
from infra.machine.nvml import Answer, Card

_SECONDS = 5.0
"""A driver that is in use answers in a tenth of a second."""


@dataclass(frozen=True)
class Meter:
    """Of the GPUs that one server holds."""

    uuids: tuple[str, ...]
    ours: Callable[[], Collection[int]]
    """Returns the ids of the server's processes."""

    @property
    def command(self) -> tuple[str, ...]:
        """What prints a reading, for whoever is another process; see `nvml_query`."""
        return nvml.command()

    def read(self) -> Answer:
        """Read the counters, in a tenth of a second."""
        return nvml.ask(_SECONDS)

    def joules(self, before: Answer, after: Answer) -> float | None:
        """Return what all of them took together between two readings; none if nobody can tell.

        To be called while the server lives: its processes are told from others.
        """
        ours = frozenset(self.ours())
        first, then = (self._alone(reading, ours) for reading in (before, after))
        if first is None or then is None:
            return None
        taken = [after - before for before, after in zip(first, then, strict=True)]
        # One that went backwards was reset; what another took may be more than it had counted.
        return sum(taken) / 1000 if min(taken) >= 0 else None

    def _alone(self, reading: Answer, ours: Collection[int]) -> list[int] | None:
        """Return the counters, in millijoules; none if one is not the server's alone."""
        cards = {card.uuid: card for card in reading.gpus}
        found = [
            card.energy_millijoules
            for uuid in self.uuids
            if (card := cards.get(uuid)) is not None and not _shared(card, ours)
        ]
        known = [one for one in found if one is not None]
        return known if len(known) == len(self.uuids) else None


def _shared(card: Card, ours: Collection[int]) -> bool:
    """Tell whether others compute on a GPU of a server that computes there.

    In a container the driver may number processes otherwise, or list none. A single one is the
    server's, whatever its number.
    """
    return len(card.processes) > 1 and any(one.pid not in ours for one in card.processes)


def meter_of(slots: Slots | None, ours: Callable[[], Collection[int]]) -> Meter | None:
    """Return what reads the energy of leased accelerators; none unless they are GPUs.

    Args:
        slots: What is leased. Without a lease nobody knows which they are, nor who uses them.
        ours: Returns the ids of the processes that it was leased for.
    """
    names: Sequence[str] = slots.names if slots else ()
    uuids = tuple(name.removeprefix(GPU) for name in names if name.startswith(GPU))
    return Meter(uuids, ours) if uuids and len(uuids) == len(names) else None


class Tally:
    """Energy of all that is done in spans, with pauses that do not count."""

    def __init__(self, meter: Meter | None) -> None:
        """Begin with nothing.

        Args:
            meter: None where nobody can tell.
        """
        self._meter = meter
        self._joules = 0.0

    @property
    def joules(self) -> float | None:
        """Of all spans; none where that of one is not known, or nothing was done."""
        return self._joules or None

    def give_up(self) -> None:
        """Say nothing: not all was done in spans."""
        self._meter, self._joules = None, 0.0

    @contextmanager
    def span(self) -> Iterator[None]:
        """Count what the block takes; the counters are read before and after it."""
        if self._meter is None:
            yield
            return
        before = self._meter.read()
        yield
        taken = self._meter.joules(before, self._meter.read())
        if taken is None:
            self.give_up()
        else:
            self._joules += taken
