"""What every recipe is, whatever its method."""

from __future__ import annotations

from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.spec import Spec


class Recipe(Spec):
    """How a checkpoint is made. Each method has fields of its own beside these."""

    method: str
    """Quantization algorithm."""

    calibration: CalibrationSpec | None
    """Conversations that it is made on; none where the method needs none."""

    @property
    def slug(self) -> str:
        """What a candidate of this recipe is called where it has no other name."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What came of it, in two or three words: `4-bit GPTQ`."""
        raise NotImplementedError

    @property
    def details(self) -> str:
        """What else tells it from other recipes of the same title: `in groups of 128`, or empty."""
        raise NotImplementedError

    @property
    def tags(self) -> tuple[str, ...]:
        """What a model hub files such a checkpoint under: `gptq`, `4-bit`."""
        raise NotImplementedError

    @property
    def meaning(self) -> tuple[str, str]:
        """The method's name, and what it does in a sentence or two, for people."""
        raise NotImplementedError

    @property
    def rounds(self) -> bool:
        """Whether weights are stored in fewer bits than the model's own: not in all formats."""
        return True

    @property
    def phrase(self) -> str:
        """Title and details."""
        return " ".join(filter(None, (self.title, self.details)))
