"""Recipes: named functions that return a full RunSpec. Add yours here.

Paths are relative to the folder a run is started in; `make` and the deployments start in the
project's own.
"""

from __future__ import annotations

from collections.abc import Callable

from infra.contracts.specs import (
    AdapterSpec,
    ArmSpec,
    AwqSpec,
    CalibrationSpec,
    CandidateSpec,
    CompressedSpec,
    DatasetSpec,
    EmbeddingSpec,
    EvaluationSpec,
    FidelitySpec,
    GgufSpec,
    GptqSpec,
    ModelSpec,
    ResultsSpec,
    RunSpec,
    ServingChanges,
    ServingSpec,
    SpeedSpec,
    TaskSpec,
    VerdictSpec,
)

Recipe = Callable[[], RunSpec]
SAMPLE = "infra/sample"


def sample() -> RunSpec:
    """The small model of this repository on its own rows: minutes on two cores, no GPU, no hub."""
    return RunSpec.short(
        model=ModelSpec(source="local", id=f"{SAMPLE}/model"),
        quantization=_sample_recipe(group_size=128),
        serving=ServingSpec(device="auto", max_model_len=2048, enforce_eager=True),
        evaluation=EvaluationSpec(
            tasks=(
                TaskSpec(name="gsm8k", num_fewshot=5, limit=60, max_gen_toks=160),
                TaskSpec(name="global_mmlu_en", limit=12),
                TaskSpec(name="gpqa_main_zeroshot", limit=60),
            ),
            datasets={
                name: DatasetSpec(path=f"{SAMPLE}/data/{name}")
                for name in (
                    "openai/gsm8k",
                    "CohereLabs/Global-MMLU-Lite",
                    "Idavidrein/gpqa",
                )
            },
        ),
        fidelity=FidelitySpec(documents=16, max_tokens=256),
        speed=SpeedSpec(input_tokens=(128,), output_tokens=32, concurrencies=(1, 4), requests=8),
        # So small a model flips up to 30 % of its rows, and 192 rows then resolve 9.9 points; the
        # 60 rows of one task 17.6. A demo shows what a verdict looks like; it guards nothing, and
        # with fewer rows it goes on with a wider margin.
        verdict=VerdictSpec(
            margin_points=10,
            task_margin_points=20,
            flip_rate=0.3,
            if_unresolvable="widen",
            gate=False,
        ),
        results=ResultsSpec(label="sample"),
    )


def sample_candidates() -> RunSpec:
    """The sample model and four changes to it on one page, on two cores: two checkpoints that are
    made, one that is ready-made, and the model as it is in another data type.
    """
    shared = sample()
    recipes = (_sample_recipe(group_size=128), _sample_recipe(group_size=64))
    return RunSpec(
        baseline=shared.baseline,
        candidates=(
            *(CandidateSpec(name=recipe.slug, quantization=recipe) for recipe in recipes),
            CandidateSpec(name="awq-ready-made", model=sample_awq()),
            CandidateSpec(name="float32", serving=ServingChanges(dtype="float32")),
            # On some accelerators attention over such a cache answers in bfloat16 and nothing else.
            CandidateSpec(
                name="fp8-cache",
                serving=ServingChanges(dtype="bfloat16", extra_args=("--kv-cache-dtype", "fp8")),
            ),
        ),
        evaluation=shared.evaluation,
        fidelity=shared.fidelity,
        speed=shared.speed,
        verdict=shared.verdict,
        results=ResultsSpec(label="sample-candidates"),
    )


def sample_methods() -> RunSpec:
    """The sample model and one candidate a method on one page, on two cores. Builds every
    environment that there is, some 10 GB.
    """
    shared = sample()
    talks = _sample_conversations()
    recipes = (
        _sample_recipe(group_size=128),
        GptqSpec(calibration=talks),
        CompressedSpec(scheme="w8a8-int8", calibration=talks),
    )
    gguf = GgufSpec(type="q4_k_m", importance=True, calibration=talks)
    return RunSpec(
        baseline=shared.baseline,
        candidates=(
            *(CandidateSpec(name=recipe.slug, quantization=recipe) for recipe in recipes),
            # On another engine two things change at once; beside f16 the quantization is left.
            CandidateSpec(
                name="gguf-f16",
                quantization=GgufSpec(type="f16"),
                serving=ServingChanges(engine="llamacpp"),
            ),
            CandidateSpec(
                name="gguf-q4-k-m",
                quantization=gguf,
                serving=ServingChanges(engine="llamacpp"),
                against="gguf-f16",
            ),
            CandidateSpec(name="lora", adapter=AdapterSpec(id=f"{SAMPLE}/adapter")),
            CandidateSpec(name="awq-ready-made", model=sample_awq()),
        ),
        evaluation=shared.evaluation,
        fidelity=shared.fidelity,
        speed=shared.speed,
        verdict=shared.verdict,
        results=ResultsSpec(label="sample-methods"),
    )


def own_kinds() -> RunSpec:
    """A task of each kind of rows that nobody publishes, on the sample assistant and on two cores:
    judging, calling functions, answering from documents, naming misconceptions, writing JSON.
    """
    rows = f"{SAMPLE}/data/own"
    return RunSpec(
        baseline=ArmSpec(
            model=sample_assistant(),
            serving=ServingSpec(device="auto", max_model_len=4096, enforce_eager=True),
        ),
        candidates=(
            CandidateSpec(
                name="awq",
                quantization=_sample_recipe(group_size=64),
            ),
        ),
        evaluation=EvaluationSpec(
            tasks=(
                TaskSpec(name="preference", file=f"{rows}/preference.jsonl"),
                TaskSpec(name="tools", file=f"{rows}/tools.jsonl", limit=90),
                TaskSpec(name="schema", file=f"{rows}/schema.jsonl", max_gen_toks=96),
                TaskSpec(name="documents", file=f"{rows}/documents.jsonl", max_gen_toks=32),
                TaskSpec(name="misconceptions", file=f"{rows}/misconceptions-test.csv", limit=60),
                TaskSpec(name="to-judge", file=f"{rows}/preference-unlabelled.jsonl"),
            ),
            chat_template=True,
            # Its vectors come from the other sample model, which finds more.
            embedding=EmbeddingSpec(
                model=ModelSpec(source="local", id=f"{SAMPLE}/model"),
                pooling="mean",
                serving=ServingSpec(device="auto", max_model_len=2048, enforce_eager=True),
            ),
        ),
        fidelity=FidelitySpec(documents=16, max_tokens=256),
        speed=SpeedSpec(enabled=False),
        verdict=VerdictSpec(
            margin_points=10,
            task_margin_points=20,
            margins={"log_loss": 0.1},
            flip_rate=0.3,
            if_unresolvable="widen",
            gate=False,
        ),
        results=ResultsSpec(label="own-kinds"),
    )


def sample_assistant() -> ModelSpec:
    """The sample model that judges, calls functions and answers from passages."""
    return ModelSpec(source="local", id=f"{SAMPLE}/assistant")


def sample_awq() -> ModelSpec:
    """The sample model as others publish theirs: a folder that is quantized already."""
    return ModelSpec(source="local", id=f"{SAMPLE}/model-awq")


def _sample_recipe(group_size: int) -> AwqSpec:
    return AwqSpec(
        calibration=_sample_conversations(),
        group_size=group_size,
    )


def _sample_conversations() -> CalibrationSpec:
    return CalibrationSpec(
        path=f"{SAMPLE}/data/calibration.jsonl", max_samples=32, max_sequence_length=256
    )


def qwen2_5_7b_instruct() -> RunSpec:
    """Qwen2.5-7B-Instruct from ModelScope on one GPU, calibrated on `calibration.jsonl`."""
    return _qwen2_5("7B")


def qwen2_5_32b_instruct() -> RunSpec:
    """Qwen2.5-32B-Instruct likewise, on one GPU of 80 GB."""
    return _qwen2_5("32B")


def _qwen2_5(size: str) -> RunSpec:
    return RunSpec.short(
        model=ModelSpec(source="modelscope", id=f"Qwen/Qwen2.5-{size}-Instruct"),
        quantization=AwqSpec(calibration=CalibrationSpec(path="calibration.jsonl")),
        serving=ServingSpec(device="cuda", max_model_len=8192),
        evaluation=EvaluationSpec(
            tasks=(
                TaskSpec(name="gsm8k", num_fewshot=5, max_gen_toks=1024),
                TaskSpec(name="global_mmlu_en", num_fewshot=5),
                TaskSpec(name="gpqa_main_zeroshot"),
            ),
        ),
        # 1,319, 400 and 448 rows. If one in ten flips, all together resolve 1.7 points, and 400
        # rows alone 3.9; a margin of 1 point would take 6,183 rows.
        verdict=VerdictSpec(margin_points=2, task_margin_points=4),
        results=ResultsSpec(label=f"qwen2-5-{size.lower()}-instruct"),
    )


def qwen2_5_quality() -> RunSpec:
    """Qwen2.5-7B-Instruct beside its makers' own quantizations of it, on the tasks by which their
    documentation compares them. `table` prints the scores in its form.
    """
    return RunSpec(
        baseline=ArmSpec(
            model=_qwen2_5_7b(), serving=ServingSpec(device="cuda", max_model_len=8192)
        ),
        candidates=_qwen2_5_7b_quantized(),
        evaluation=EvaluationSpec(
            tasks=(
                TaskSpec(name="mmlu", num_fewshot=5),
                TaskSpec(name="ceval-valid", num_fewshot=5),
                TaskSpec(name="ifeval"),
            ),
            # Instructions are followed in a chat; without its template none would be.
            chat_template=True,
            fewshot_as_multiturn=True,
        ),
        speed=SpeedSpec(enabled=False),
        # 14,042, 1,346 and 541 rows. If one in ten flips, all together resolve 0.8 points for
        # three candidates, and 541 rows alone 4.4.
        verdict=VerdictSpec(margin_points=1, task_margin_points=5, gate="none"),
        results=ResultsSpec(label="qwen2-5-quality"),
    )


def qwen2_5_speed() -> RunSpec:
    """The same four, timed as their documentation times them: 2,048 tokens written after prompts of
    1 to 129,024, one request at a time. `table` prints it in its form.
    """
    return RunSpec(
        baseline=ArmSpec(
            model=_qwen2_5_7b(),
            # Prompts that are made of random tokens may be read as a few more of them: the window
            # holds the longest, its answer and as much again, and is stretched to that.
            serving=ServingSpec(device="cuda", max_model_len=133_120, yarn_factor=4.0625),
        ),
        candidates=_qwen2_5_7b_quantized(),
        # Every run has a task. This one shows whether an arm is worth timing, and nothing else.
        evaluation=EvaluationSpec(
            tasks=(TaskSpec(name="global_mmlu_en", num_fewshot=5, limit=10),), concurrency=16
        ),
        fidelity=FidelitySpec(enabled=False),
        speed=SpeedSpec(
            input_tokens=(1, 6_144, 14_336, 30_720, 63_488, 129_024),
            output_tokens=2_048,
            concurrencies=(1,),
            requests=2,
        ),
        verdict=VerdictSpec(
            margin_points=15, task_margin_points=20, if_unresolvable="widen", gate="none"
        ),
        results=ResultsSpec(label="qwen2-5-speed"),
    )


def _qwen2_5_7b(quantized: str = "") -> ModelSpec:
    return ModelSpec(source="modelscope", id=f"Qwen/Qwen2.5-7B-Instruct{quantized}")


def _qwen2_5_7b_quantized() -> tuple[CandidateSpec, ...]:
    return tuple(
        CandidateSpec(name=name.lower(), model=_qwen2_5_7b(f"-{name}"))
        for name in ("GPTQ-Int8", "GPTQ-Int4", "AWQ")
    )


RECIPES: dict[str, Recipe] = {
    "sample": sample,
    "sample-candidates": sample_candidates,
    "sample-methods": sample_methods,
    "own-kinds": own_kinds,
    "qwen2.5-7b-instruct": qwen2_5_7b_instruct,
    "qwen2.5-32b-instruct": qwen2_5_32b_instruct,
    "qwen2.5-quality": qwen2_5_quality,
    "qwen2.5-speed": qwen2_5_speed,
}
"""Every recipe by the name used on the command line."""
