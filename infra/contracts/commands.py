"""Commands as a user can type them: `python` on his PATH may be another than the one that runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

PYTHON = shlex.quote(sys.executable)
"""For `{PYTHON} -m MODULE`."""

LM_EVAL = shlex.quote(str(Path(sys.executable).parent / "lm-eval"))
"""lm-eval's own command line."""
