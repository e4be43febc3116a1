"""A whole run, task by task: one baseline, every candidate beside it, one report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple

from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from infra.contracts.errors import AssayError
from infra.contracts.records import (
    Adapter,
    ArmResult,
    Checkpoint,
    Comparison,
    PythonEnvironment,
    Weights,
)
from infra.contracts.records.embedding import EmbeddingModel
from infra.contracts.specs import BASELINE, ArmSpec, RunSpec
from infra.contracts.specs.embedding import EMBEDDING_PLACES
from infra.contracts.specs.places import errors_placed
from infra.engines.registry import engine_of
from infra.machine import preloaded
from infra.machine.beside import Beside
from infra.models import lora
from infra.models.weights import as_it_came
from infra.quantizers import makers_of, programs_of, quantizer_of
from infra.report.baseline_pack import require_same_origin
from infra.stages.loading import load, loading_first
from infra.stages.side_by_side import side_by_side
from infra.store.run_folder import RunFolder
from infra.store.settings import Settings
from infra.suite import cutting
from infra.suite.passages.pending import PROGRAM, pending
from tasks.adopt_baseline import adopt_baseline
from tasks.build_environment import build_environment
from tasks.check_prerequisites import begin_run, check_prerequisites
from tasks.compare import compare
from tasks.cut_texts import cut_texts
from tasks.evaluate_arm import evaluate_arm
from tasks.fetch_adapter import fetch_adapter
from tasks.fetch_weights import fetch_weights
from tasks.merge_adapter import merge_adapter
from tasks.order import Order
from tasks.outcomes import conclude
from tasks.publish import publish
from tasks.quantize import quantize
from tasks.retrieve_passages import with_passages
from tasks.run_names import name_run

_LOOK_SECONDS = 1.0
"""As long as an environment takes that is there already."""


def evaluate(spec: RunSpec) -> Path:
    """Carry out a run inside a flow; return the report's path, in the state of its verdict.

    Checkpoints are made first, so that what cannot be made costs no evaluation; where that takes
    other accelerators than the baseline, both go on side by side. With several candidates, one that
    fails costs the others nothing.

    Raises:
        AssayError: The run cannot be carried out, or no candidate came to a result.
    """
    name_run(spec)
    settings = Settings()
    begin_run(settings)
    with loading_first(spec, settings):
        return _evaluated(spec, Order())


def _evaluated(spec: RunSpec, order: Order) -> Path:
    run = check_prerequisites(spec)
    parts = _Parts(spec, run, order)
    parts.retrieved()
    asked = parts.cut()
    failed: dict[str, AssayError] = {}
    made: dict[str, Callable[[], Checkpoint]] = {}
    with Beside() if side_by_side(spec, Settings()) else nullcontext() as beside:
        for name, arm in spec.evaluated.items():
            with _or_failed(name, spec, failed):
                made[name] = parts.making(name, arm, None if name == BASELINE else beside)
        if spec.baseline_pack is not None:
            arms = {BASELINE: order.after([run], adopt_baseline)(spec.baseline_pack, spec, run)}
            checkpoints = {name: checkpoint() for name, checkpoint in made.items()}
            parts.require_origin(Path(spec.baseline_pack), checkpoints, arms[BASELINE])
        else:
            arms = {BASELINE: parts.evaluated(BASELINE, made[BASELINE]())}
        repeat = None
        if spec.evaluation.noise_floor:
            repeat = parts.evaluated(BASELINE, made[BASELINE](), repeat=True)
        compared: dict[str, Comparison] = {}
        for name in [name for name in made if name != BASELINE]:
            with _or_failed(name, spec, failed):
                result = parts.evaluated(name, made[name](), baseline=arms[BASELINE])
                both = [arms[BASELINE], result, *([repeat] if repeat else [])]
                compared[name] = order.after(both, compare)(
                    name, arms[BASELINE], result, repeat, asked, run
                )
                arms[name] = result
    if (loaded := preloaded.here()) is not None:
        loaded.drop()  # nothing is served any more
    if failed and not compared:
        raise next(iter(failed.values()))
    reasons = {name: str(error) for name, error in failed.items()}
    results = [*arms.values(), *compared.values()]
    published = order.after(results, publish)(arms, compared, reasons, spec, run)
    return conclude(published, spec.verdict)


class _or_failed:  # noqa: N801 -- it reads as a statement
    """Keep the error of one of several candidates; that of the only one, or the baseline, ends."""

    def __init__(self, name: str, spec: RunSpec, failed: dict[str, AssayError]) -> None:
        self._name = name
        self._alone = name == BASELINE or len(spec.candidates) == 1
        self._failed = failed

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if self._alone or not isinstance(error, AssayError):
            return False
        self._failed[self._name] = error
        get_run_logger().error(f"{self._name} comes to no result; the others go on. {error}")
        return True


class _Parts:
    """What the arms of a run share: environments and weights, each had once."""

    def __init__(self, spec: RunSpec, run: RunFolder, order: Order) -> None:
        self._spec = spec
        self._run = run
        self._order = order
        self._shared: list[object] = []  # what was made for the questions of all arms
        self._weights: dict[str, Weights] = {}
        self._builds: dict[_Environment, PrefectFuture[PythonEnvironment]] = {}
        for name, arm in spec.evaluated.items():
            self._build(name, _server(arm))
            for program in programs_of(arm):
                self._build(name, _Environment(program, arm.serving.device))
        if (embeds := _embeds(spec)) is not None:
            self._build(_EMBEDDING, _server(embeds))
        if pending(spec.evaluation):
            self._build(PROGRAM, _LIBRARIES)

    def _build(self, arm: str, wanted: _Environment) -> None:
        """Start to build an environment, once whoever needs it."""
        if wanted not in self._builds:
            another = any(one.program == wanted.program for one in self._builds)
            self._builds[wanted] = build_environment.submit(
                wanted.program, wanted.device, self._run,
                python=wanted.python, arm=arm if another else None,
            )  # fmt: skip

    def retrieved(self) -> RunSpec:
        """Return the run as it is asked: with what was found in documents, for all arms alike."""
        evaluation = self._spec.evaluation
        if pending(evaluation):
            asked = with_passages(evaluation, self._run, self._builds[_LIBRARIES], self.embedding)
            self._shared += [task for task in asked.tasks if task not in evaluation.tasks]
            self._spec = self._spec.model_copy(update={"evaluation": asked})
        return self._spec

    def cut(self) -> RunSpec:
        """Return the run as it is asked: with pairs that fit the baseline's window, for all arms.

        Without a baseline here, a candidate that comes from it has its tokenizer.
        """
        if cutting.pending(self._spec.evaluation):
            there = self._spec.evaluated
            name = BASELINE if BASELINE in there else next(iter(there))
            weights = self._fetched(name, there[name])
            asked = self._order.after([weights, *self._shared], cut_texts)(
                self._spec.evaluation, self._spec.baseline, weights.path, self._run
            )
            self._shared.append(asked)
            self._spec = self._spec.model_copy(update={"evaluation": asked})
        return self._spec

    def making(self, name: str, arm: ArmSpec, beside: Beside | None) -> Callable[[], Checkpoint]:
        """Make what an arm serves, here and now or beside; return what returns it then."""
        self._fetched(name, arm)  # in this thread: who shares a model's weights waits for one
        if beside is None:
            if makers_of(arm):
                self._load_first()
            checkpoint = self.checkpoint(name, arm)
            return lambda: checkpoint
        return beside.start(partial(self.checkpoint, name, arm)).result

    def _load_first(self) -> None:
        """Have the engine of the first arm loaded while something is made, if it is built."""
        name, arm = next(iter(self._spec.evaluated.items()))
        build = self._builds[_server(arm)]
        build.wait(_LOOK_SECONDS)
        if build.state.is_completed():
            model = self._fetched(name, arm).path
            log = self._run.log(f"loading-{name}")
            load(name, model, spec=self._spec, environment=build.result(), log=log)

    def checkpoint(self, name: str, arm: ArmSpec) -> Checkpoint:
        """Return what an arm serves: its model as it came, or what is made of it."""
        weights = self._fetched(name, arm)
        if arm.adapter is None:
            return self._made(name, arm, weights)
        with errors_placed(self._spec.places(name)):
            adapter = self._order.after([weights], fetch_adapter)(
                name, arm.adapter, weights, self._run
            )
        if not adapter.merged:
            return self._with(adapter, self._made(name, arm, weights))
        environment = self._environment(_Environment(programs_of(arm)[0], arm.serving.device))
        merged = self._order.after([adapter, environment], merge_adapter)(
            name, weights, adapter, self._spec, environment, self._run
        )
        if arm.quantization is None:
            return self._with(adapter, merged)
        whole = self._order.together(lora.as_weights(merged, weights), [merged])
        return self._with(adapter, self._made(name, arm, whole))

    def _with(self, adapter: Adapter, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint with an adapter on it, or in it."""
        return self._order.together(lora.applied(checkpoint, adapter), [checkpoint, adapter])

    def _made(self, name: str, arm: ArmSpec, weights: Weights) -> Checkpoint:
        """Return what a recipe makes of weights, or those as they are."""
        if arm.quantization is None:
            return self._order.together(as_it_came(weights), [weights])
        program = quantizer_of(arm.quantization).environment
        environment = self._environment(_Environment(program, arm.serving.device))
        writer = None
        if self._spec.evaluation.tokenizer == "baseline":
            writer = self._fetched(BASELINE, self._spec.baseline)
        needed = [weights, environment, *([writer] if writer else []), *self._shared]
        return self._order.after(needed, quantize)(
            name, weights, arm.quantization, self._spec, environment, self._run, writer
        )

    def _environment(self, wanted: _Environment) -> PythonEnvironment:
        """Return an environment once it is built."""
        return self._order.made(self._builds[wanted].result(), [self._run])

    def _fetched(self, name: str, arm: ArmSpec) -> Weights:
        """Return the weights of an arm's model, had once."""
        source = arm.model.model_dump_json()
        if source not in self._weights:
            with errors_placed(self._spec.places(name)):
                self._weights[source] = self._order.after([self._run], fetch_weights)(
                    name, arm.model, self._run
                )
        return self._weights[source]

    def require_origin(
        self, pack: Path, checkpoints: Mapping[str, Checkpoint], baseline: ArmResult
    ) -> None:
        """Refuse candidates that do not come from what the baseline of a pack came from."""
        for name, checkpoint in checkpoints.items():
            weights = self._fetched(name, self._spec.evaluated[name])
            require_same_origin(pack, name, checkpoint, weights, self._spec, baseline)

    def evaluated(
        self,
        name: str,
        checkpoint: Checkpoint,
        *,
        repeat: bool = False,
        baseline: ArmResult | None = None,
    ) -> ArmResult:
        """Return what an arm scored."""
        environment = self._environment(_server(self._spec.evaluated[name]))
        needed = [checkpoint, environment, *self._shared]
        needed += [one for one in (baseline, self.embedding) if one is not None]
        return self._order.after(needed, evaluate_arm)(
            name, checkpoint, self._spec, environment, self._run,
            repeat=repeat, baseline=baseline, embedding=self.embedding,
        )  # fmt: skip

    @cached_property
    def embedding(self) -> EmbeddingModel | None:
        """The embedding model that all arms share; none if the run names none."""
        if (arm := _embeds(self._spec)) is None:
            return None
        with errors_placed(EMBEDDING_PLACES):
            weights = self._order.after([self._run], fetch_weights)(
                _EMBEDDING, arm.model, self._run
            )
        environment = self._environment(_server(arm))
        model = EmbeddingModel(checkpoint=as_it_came(weights), environment=environment)
        return self._order.together(model, [weights, environment])


class _Environment(NamedTuple):
    """What tells environments apart."""

    program: str
    device: Literal["auto", "cuda", "cpu"]
    python: str | None = None


_LIBRARIES = _Environment(PROGRAM, "cpu")
_EMBEDDING = "embedding_model"
"""In names of files; no candidate can be called so."""


def _embeds(spec: RunSpec) -> ArmSpec | None:
    """Return the embedding model and how it is served; none if the run names none."""
    embedding = spec.evaluation.embedding
    return embedding.as_arm if embedding else None


def _server(arm: ArmSpec) -> _Environment:
    serving = arm.serving
    return _Environment(engine_of(serving).environment, serving.computes_on, serving.python)
