"""What turns texts into vectors."""

from __future__ import annotations

from infra.contracts.records.models import Checkpoint, PythonEnvironment
from infra.contracts.records.record import Record


class EmbeddingModel(Record):
    """An embedding model that is here, and what serves it."""

    checkpoint: Checkpoint
    environment: PythonEnvironment
    """Interpreter with the engine."""
