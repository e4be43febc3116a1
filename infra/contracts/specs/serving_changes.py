"""What a candidate's engine does otherwise than the baseline's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from infra.contracts.specs.serving import OF_ONE_ENGINE, ServingSpec
from infra.contracts.specs.spec import Spec


class _Changes(Spec):
    def over(self, serving: ServingSpec) -> ServingSpec:
        """Return settings with these changes; on another engine without what is of one alone.

        Raises:
            SpecError: They do not go together.
        """
        changed = self.changed
        other = changed.get("engine", serving.engine) != serving.engine
        kept = serving.model_dump(exclude=set(OF_ONE_ENGINE) if other else None)
        return ServingSpec.model_validate(kept | changed)

    @property
    def changed(self) -> dict[str, Any]:
        """Field → value of those that are given."""
        return self.model_dump(exclude_none=True)


if TYPE_CHECKING:

    class ServingChanges(_Changes):
        """Fields of `ServingSpec`, each empty where it is as the baseline's."""

        def __init__(self, **changes: Any) -> None: ...

else:
    ServingChanges = create_model(
        "ServingChanges",
        __base__=_Changes,
        __doc__="Fields of `ServingSpec`, each empty where it is as the baseline's.",
        **{
            name: (
                Annotated[
                    field.annotation | None,
                    Field(
                        title=field.title,
                        description=f"{field.description} Left out: as the baseline.",
                    ),
                    *field.metadata,
                ],
                None,
            )
            for name, field in ServingSpec.model_fields.items()
        },
    )
