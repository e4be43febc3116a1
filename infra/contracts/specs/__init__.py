"""What a run shall do. Every field carries its meaning and unit as a docstring.

The Prefect form shows them.
"""

from infra.contracts.specs.adapters import AdapterSpec
from infra.contracts.specs.arms import BASELINE, ArmSpec, CandidateSpec
from infra.contracts.specs.conversations import CalibrationSpec
from infra.contracts.specs.embedding import EmbeddingSpec
from infra.contracts.specs.endpoint import BudgetSpec, EndpointSpec
from infra.contracts.specs.endpoint_run import EndpointRunSpec
from infra.contracts.specs.evaluation import (
    DatasetSpec,
    EvaluationSpec,
    SamplingSpec,
    TaskSpec,
    ThinkingSpec,
)
from infra.contracts.specs.matrix import CellSpec, MatrixModelSpec, MatrixSpec
from infra.contracts.specs.models import ModelSpec
from infra.contracts.specs.probes import FidelitySpec, SpeedSpec, TriageSpec
from infra.contracts.specs.quantization import (
    AwqSpec,
    CompressedSpec,
    GgufSpec,
    GptqSpec,
    MadeRecipe,
    MergeSpec,
    QuantizationSpec,
    Recipe,
    SchemeOverride,
)
from infra.contracts.specs.results import ResultsSpec
from infra.contracts.specs.run import RunSpec
from infra.contracts.specs.serving import ServingSpec
from infra.contracts.specs.serving_changes import ServingChanges
from infra.contracts.specs.spec import Spec, recorded
from infra.contracts.specs.verdict import VerdictSpec

__all__ = [
    "BASELINE",
    "AdapterSpec",
    "ArmSpec",
    "AwqSpec",
    "BudgetSpec",
    "CalibrationSpec",
    "CandidateSpec",
    "CellSpec",
    "CompressedSpec",
    "DatasetSpec",
    "EmbeddingSpec",
    "EndpointRunSpec",
    "EndpointSpec",
    "EvaluationSpec",
    "FidelitySpec",
    "GgufSpec",
    "GptqSpec",
    "MadeRecipe",
    "MatrixModelSpec",
    "MatrixSpec",
    "MergeSpec",
    "ModelSpec",
    "QuantizationSpec",
    "Recipe",
    "ResultsSpec",
    "RunSpec",
    "SamplingSpec",
    "SchemeOverride",
    "ServingChanges",
    "ServingSpec",
    "Spec",
    "SpeedSpec",
    "TaskSpec",
    "ThinkingSpec",
    "TriageSpec",
    "VerdictSpec",
    "recorded",
]
