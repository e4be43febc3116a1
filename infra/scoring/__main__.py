"""The stock `lm_eval` command line, with `--model assay-completions` beside its own models."""

from __future__ import annotations

from lm_eval.__main__ import cli_evaluate

import infra.scoring.model  # noqa: F401  # registers it

if __name__ == "__main__":
    cli_evaluate()
