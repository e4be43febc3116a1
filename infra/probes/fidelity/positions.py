"""What one model expected at every position of the texts, as arrays and as a file.

Position `i` of a text is where its token `i` comes next; the first token follows nothing and has
no position.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.contracts.errors import ComparisonError
from infra.store.content import digest_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Positions:
    """All positions of all texts, in order."""

    tokens: NDArray[np.int32]
    """Token ids of all texts, one after the other."""

    lengths: NDArray[np.int32]
    """Tokens of each text."""

    own: NDArray[np.float32]
    """Log-probability of the text's own token at each position, nats."""

    ids: NDArray[np.int32]
    """[positions, k]: the likeliest tokens, the likeliest first."""

    logprobs: NDArray[np.float32]
    """[positions, k]: their log-probabilities, nats."""

    origin: str
    """Where the texts are from, for people."""

    @classmethod
    def of(
        cls,
        texts: Sequence[Sequence[int]],
        own: Sequence[float],
        ids: Sequence[Sequence[int]],
        logprobs: Sequence[Sequence[float]],
        *,
        origin: str,
    ) -> Positions:
        """Make arrays of lists; see the fields.

        Raises:
            ValueError: There are not as many positions as the texts have, or a log-probability is
                no finite number.
        """
        import numpy as np

        with np.errstate(over="ignore"):  # refused below
            found = cls(
                tokens=np.array([token for text in texts for token in text], np.int32),
                lengths=np.array([len(text) for text in texts], np.int32),
                own=np.array(own, np.float32),
                ids=np.array(ids, np.int32),
                logprobs=np.array(logprobs, np.float32),
                origin=origin,
            )
        found._check()
        return found

    @property
    def texts(self) -> str:
        """SHA-256 over the token ids of all texts: equal for equal texts."""
        ends = self.lengths.cumsum().tolist()
        starts = [0, *ends[:-1]]
        tokens = self.tokens.tolist()
        return digest_of([tokens[a:b] for a, b in zip(starts, ends, strict=True)])

    @property
    def top_k(self) -> int:
        """How many likeliest tokens are kept."""
        return int(self.ids.shape[1])

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood of the texts' own tokens, nats a token."""
        import numpy as np

        return float(-self.own.mean(dtype=np.float64))

    def save(self, file: Path) -> None:
        """Write a compressed `.npz` file."""
        import numpy as np

        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        np.savez_compressed(file, **arrays, origin=np.array(self.origin))

    @classmethod
    def load(cls, file: Path) -> Positions:
        """Read a file that `save` wrote.

        Raises:
            ComparisonError: It cannot be read, or holds something else.
        """
        import numpy as np

        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in _ARRAYS}
                found = cls(**arrays, origin=str(stored["origin"]))
            found._check()
        except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
            raise ComparisonError(
                f"The reading of the fidelity texts in {file} cannot be used: {error}.",
                cause="The file was cut or changed after the evaluation.",
                remedy="Run the evaluation again.",
                field="reading",
            ) from error
        return found

    def _check(self) -> None:
        import numpy as np

        count = len(self.tokens) - len(self.lengths)
        shapes = (self.own.shape, self.ids.shape, self.logprobs.shape)
        if count < 1 or shapes != ((count,), (count, self.ids.shape[-1]), self.ids.shape):
            raise ValueError(f"{count} positions, but arrays of {shapes}")
        if int(self.lengths.sum()) != len(self.tokens):
            raise ValueError("the texts are not as long as their tokens are many")
        if not all(np.isfinite(values).all() for values in (self.own, self.logprobs)):
            raise ValueError("a log-probability is no finite number")


_ARRAYS = ("tokens", "lengths", "own", "ids", "logprobs")
