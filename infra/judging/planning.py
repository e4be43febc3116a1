"""The plan of a run before anything is spent: its rows, and what earlier runs tell."""

from __future__ import annotations

from collections.abc import Mapping

from infra.contracts.progress import Progress, Silent
from infra.contracts.records import Power
from infra.contracts.specs import EndpointRunSpec, RunSpec
from infra.judging.earlier_runs import endpoint_recipe, learn, recipe_of
from infra.judging.power import margin, plan
from infra.store.content import digest_of
from infra.store.run_folder import runs_folder
from infra.store.settings import Settings
from infra.suite import kind_of


def planned(
    spec: RunSpec | EndpointRunSpec, settings: Settings, progress: Progress | None = None
) -> Power | None:
    """Return what the run can show, with what earlier runs of its label and model tell.

    Quick, once `survey` has loaded the tasks: their rows are remembered.

    Args:
        spec: The run.
        settings: Where things are kept.
        progress: Hears about what takes long.

    Returns:
        The plan; none if the tasks were not loaded before, or have no rows that are right or wrong.
    """
    kind = kind_of(spec.evaluation)
    rows = kind.row_counts(spec.evaluation, settings=settings, progress=progress or Silent())
    return _planned(spec, settings, rows) if rows else None


def margin_taken(spec: RunSpec, settings: Settings) -> str | None:
    """Return what a run's outcome takes from earlier runs: the margin, where they decide it.

    Empty where they decide nothing; none where that is unclear, since the tasks were not
    loaded before.
    """
    verdict = spec.judged_verdict
    if verdict.if_unresolvable == "refuse" or verdict.flip_rate is not None:
        return ""
    kind = kind_of(spec.evaluation)
    rows = kind.row_counts(spec.evaluation, settings=settings, progress=Silent())
    if rows is None:
        return None
    return digest_of(margin(verdict, _planned(spec, settings, rows))) if rows else ""


def _planned(spec: RunSpec | EndpointRunSpec, settings: Settings, rows: Mapping[str, int]) -> Power:
    if isinstance(spec, EndpointRunSpec):
        model, recipes = spec.endpoint.model, [endpoint_recipe(spec.endpoint)]
    else:
        model, recipes = spec.baseline.model.id, [recipe_of(one) for one in spec.candidates]
    folder = runs_folder(spec.results, settings)
    earlier = learn(folder, label=spec.results.label, model=model, tasks=rows, recipes=recipes)
    kind = kind_of(spec.evaluation)
    repeats = kind.repeats(spec.evaluation, settings=settings, progress=Silent())
    return plan(rows, spec.judged_verdict, earlier, repeats)
