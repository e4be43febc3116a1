"""What runs llama.cpp's server: our script in an interpreter, or a program of the user's."""

from __future__ import annotations

from pathlib import Path

SCRIPT = Path(__file__).with_name("serve_gguf.py")
PROGRAM = "llama-server"


def is_program(python: Path) -> bool:
    """Tell whether what stands for the engine's interpreter is llama.cpp's own program."""
    return python.name.startswith(PROGRAM)


def beginning(python: Path) -> tuple[str, ...]:
    """Return the first words of a command that takes llama-server's flags.

    Args:
        python: Interpreter that has the package, or a program `llama-server`.
    """
    return (str(python),) if is_program(python) else (str(python), "-I", "-u", str(SCRIPT))
