"""Results that other programs left behind, as rows and scores of ours.

A module a program: it knows the program's files, and yields `Result`s. What a row is paired by is
its content: the question, the prompt and the target, never its number.

    result      what every reader returns; metrics, with what is declared of them
    files       lines of JSON, and what is wrong with them
    lm_eval, inspect_ai, evalscope, nemo_evaluator
    reading     which of them a file belongs to; a folder of files
"""

from __future__ import annotations

from infra.suite.foreign.reading import read
from infra.suite.foreign.result import Declared, Result

__all__ = ["Declared", "Result", "read"]
