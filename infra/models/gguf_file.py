"""What a GGUF file says about itself, read by everybody who needs it.

The format's own package reads it: names, types and numbers; weights stay on the disk until they are
looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from infra.contracts.errors import CorruptWeights
from infra.models import lfs
from infra.models.files import is_weight

if TYPE_CHECKING:
    from gguf import ReaderTensor

SUFFIX = ".gguf"
WHOLE = frozenset(["F64", "F32", "F16", "BF16"])
"""Types of numbers that are not rounded to blocks."""

_MAGIC = b"GGUF"


@dataclass(frozen=True)
class GgufFile:
    """An open file."""

    path: Path
    tensors: dict[str, ReaderTensor]
    _fields: dict[str, Any]

    @property
    def architecture(self) -> str:
        """As llama.cpp calls it: `qwen2`."""
        return str(self.value("general.architecture"))

    @property
    def type(self) -> str:
        """Mix of formats that it was made as: `Q4_K_M`; `unknown` if it does not say."""
        from gguf import LlamaFileType

        number = self.value("general.file_type")
        try:
            name = LlamaFileType(number).name
        except ValueError:
            return "unknown"
        return name.removeprefix("MOSTLY_").removeprefix("ALL_")

    @property
    def weights(self) -> int:
        """How many numbers all tensors hold together."""
        return sum(int(one.n_elements) for one in self.tensors.values())

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(int(one.n_bytes) for one in self.tensors.values())

    @property
    def rounded(self) -> bool:
        """Whether any tensor is stored in blocks."""
        return any(one.tensor_type.name not in WHOLE for one in self.tensors.values())

    def value(self, key: str) -> Any:
        """Return a field of its metadata, `{}` in its name standing for the architecture."""
        name = key.replace("{}", self.architecture) if "{}" in key else key
        return self._fields.get(name)


def find(folder: Path) -> Path | None:
    """Return the GGUF file that is a folder's model; none if it is none, or nobody knows which.

    Beside weights in another layout it is a copy for another engine.
    """
    weights = [path for path in folder.iterdir() if is_weight(path.name)] if folder.is_dir() else []
    return weights[0] if len(weights) == 1 and weights[0].suffix == SUFFIX else None


def read(path: Path) -> GgufFile:
    """Open a file.

    Raises:
        CorruptWeights: It is cut off, overwritten, or no GGUF file.
    """
    from gguf import GGUFReader, GGUFValueType

    lfs.check(path, CorruptWeights)
    with path.open("rb") as stream:
        if stream.read(4) != _MAGIC:
            _broken(path, f"is no GGUF file ({path.stat().st_size} bytes)")
    try:
        reader = GGUFReader(path)
        fields = {
            name: field.contents()
            for name, field in reader.fields.items()
            if GGUFValueType.ARRAY not in field.types  # tokens, by the hundred thousand
        }
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    # The package raises whatever comes up while it reads beyond the end.
    except (ValueError, KeyError, IndexError, OverflowError, TypeError, UnicodeError) as error:
        _broken(path, "is cut off or damaged", f"{type(error).__name__}: {error}".split("\n")[0])
    if "general.architecture" not in fields or not tensors:
        _broken(path, "holds no model: no architecture, or no tensor")
    return GgufFile(path, tensors, fields)


def _broken(path: Path, fact: str, cause: str = "") -> NoReturn:
    raise CorruptWeights(
        f"{path} {fact}.",
        cause=cause,
        remedy="Copy or download the file again.",
    )
