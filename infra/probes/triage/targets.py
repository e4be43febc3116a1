"""Which layers a configuration means: by name, by the end or the beginning of it, or by a pattern.

Programs have their own ways, and some write down every layer of a large model; a name is looked up
and not searched for.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from infra.contracts.records import Quantization, QuantizationScheme

_REGEX = "re:"
_GLOB = re.compile(r"[*?\[]")
_CLASSES = {"Linear", "RoutedExperts", "FusedMoE"}
"""What compressed-tensors writes for all layers that are not named otherwise."""


class Targets:
    """Names and patterns of layers."""

    def __init__(self, targets: Iterable[str]) -> None:
        """Take them as a configuration has them; a regular expression begins with `re:`."""
        self._names: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        for target in targets:
            try:
                if target.startswith(_REGEX):
                    self._patterns.append(re.compile(target.removeprefix(_REGEX)))
                elif _GLOB.search(target):
                    self._patterns.append(re.compile(fnmatch.translate(target)))
                elif target:
                    self._names.add(target)
            except re.error:  # it means no layer to the engine either
                continue

    def has(self, name: str, *, anywhere: bool = False) -> bool:
        """Tell whether a layer is meant.

        Args:
            name: Of the layer.
            anywhere: Take a name that stands in the middle of it, as some quantizers do.
        """
        parts = name.split(".")
        ends = {".".join(parts[i:]) for i in range(len(parts))}
        ends |= {".".join(parts[:i]) for i in range(1, len(parts))}
        return (
            not ends.isdisjoint(self._names)
            or any(pattern.match(name) for pattern in self._patterns)
            or (anywhere and any(target in name for target in self._names))
        )


class Schemes:
    """What a configuration says about each layer."""

    def __init__(self, quantization: Quantization | None) -> None:
        """Take what a checkpoint says of itself; nothing if it is not quantized."""
        schemes = quantization.schemes if quantization else ()
        self._named = [(Targets(scheme.targets), scheme) for scheme in schemes if scheme.targets]
        general = [one for one in schemes if not one.targets or _CLASSES & {*one.targets}]
        self._general = general[0] if len(general) == 1 else QuantizationScheme()

    def of(self, name: str) -> QuantizationScheme:
        """Return the scheme of a layer; an empty one where it is not clear."""
        return next((one for targets, one in self._named if targets.has(name)), self._general)
