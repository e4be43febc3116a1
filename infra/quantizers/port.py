"""What every way to make a checkpoint has to offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from infra.contracts.layout import Layout
from infra.contracts.progress import Progress
from infra.contracts.records import Checkpoint, PythonEnvironment, Quantization, Weights
from infra.contracts.specs import Recipe, ServingSpec
from infra.models.memory_need import Shape
from infra.store.settings import Settings


@dataclass(frozen=True)
class Need:
    """Memory that making a checkpoint takes."""

    host: int
    """Bytes of main memory."""

    device: int
    """Bytes of one GPU; 0 without."""


RecipeT_contra = TypeVar("RecipeT_contra", bound=Recipe, contravariant=True)


class Quantizer(Protocol[RecipeT_contra]):
    """One method: what it takes, what it refuses, and how it makes a checkpoint."""

    @property
    def title(self) -> str:
        """What people call the program."""

    @property
    def environment(self) -> str:
        """Environment that it runs in, as `infra/environments` calls it."""

    @property
    def cuts_blocks(self) -> bool:
        """Whether it joins conversations and cuts blocks, of which they have to fill one."""

    @property
    def on_accelerator(self) -> bool:
        """Whether it computes on an accelerator where there is one: else it takes none."""

    @property
    def makes(self) -> Layout:
        """Layout of the weights that it writes."""

    def share(self, shape: Shape, recipe: RecipeT_contra) -> float:
        """Return about how many bytes a checkpoint takes, over those of 16 bits a weight.

        Args:
            shape: The model.
            recipe: How it is made.
        """

    def check(self, weights: Weights, recipe: RecipeT_contra) -> None:
        """Refuse, in milliseconds, a model that this recipe cannot quantize.

        Raises:
            UnsupportedModel: It cannot.
            CalibrationError: It has no chat template to render the conversations with.
        """

    def check_named(
        self, model: str, config: Mapping[str, Any] | None, quantization: Quantization | None
    ) -> None:
        """Refuse a model by what a hub shows of it.

        Args:
            model: Its id.
            config: Its config.json; none where that is out of reach.
            quantization: How its files say that it is quantized; none if none says so.

        Raises:
            UnsupportedModel: It cannot be quantized.
        """

    def check_served(
        self, recipe: RecipeT_contra, serving: ServingSpec, shape: Shape | None
    ) -> None:
        """Refuse settings with which the engine cannot serve what the recipe makes.

        Args:
            recipe: The recipe.
            serving: The settings.
            shape: Of the model; none where it is unknown.

        Raises:
            Unservable: It cannot.
        """

    def need(self, shape: Shape, recipe: RecipeT_contra, *, gpu: bool) -> Need:
        """Return the memory that it takes.

        Args:
            shape: The model.
            recipe: How many conversations, and how long.
            gpu: Whether there is one.
        """

    def make(
        self,
        weights: Weights,
        recipe: RecipeT_contra,
        *,
        environment: PythonEnvironment,
        moment: datetime,
        template_variables: Mapping[str, Any],
        settings: Settings,
        progress: Progress,
        log: Path,
        trust_remote_code: bool,
    ) -> tuple[Checkpoint, bool]:
        """Return the checkpoint of a recipe on a model, and whether it was there already.

        Args:
            weights: The model, whole and verified.
            recipe: The recipe.
            environment: Interpreter that has the program.
            moment: What the chat template takes for now.
            template_variables: Further variables of the chat template.
            settings: Where checkpoints are kept.
            progress: Hears how far it is, at least every two seconds.
            log: File for all that it prints.
            trust_remote_code: Run Python code that comes with the model.

        Raises:
            UnsupportedModel: It cannot quantize this model with this recipe.
            CalibrationError: The conversations cannot be used.
            AcceleratorsTaken: Other runs held the accelerators for too long.
            QuantizationError: It failed. Nothing half-written remains.
        """
