"""What all figures share: colours, style, file format.

Drawn without pyplot, so nothing is shared between threads. A figure names no date, so that the
same numbers always gives the same bytes.
"""

from __future__ import annotations

import base64
import io
import pickle
import re
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Layout = Literal["wide", "narrow"]
Kind = Literal["svg", "png"]


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a figure. Loss and gain stay apart for every common kind of colour vision."""

    paper: str
    ink: str
    soft: str
    grid: str
    loss: str
    gain: str
    unclear: str


LIGHT = Palette(
    paper="#ffffff", ink="#1b1f24", soft="#656d76", grid="#e4e7eb",
    loss="#c2410c", gain="#0f766e", unclear="#4b5563",
)  # fmt: skip
DARK = Palette(
    paper="#15181c", ink="#e6e8eb", soft="#9aa3ad", grid="#2b3036",
    loss="#fb8a4c", gain="#4fd1c0", unclear="#b4bcc6",
)  # fmt: skip


def image(draw: partial[Figure], palette: Palette, kind: Kind) -> bytes:
    """Return a figure as an image file.

    Args:
        draw: Makes the figure; a function of a module, with all that it shows.
        palette: Colours, background included.
        kind: File format.
    """
    return _drawn(_Order(pickle.dumps(draw), draw), palette, kind)


@dataclass(frozen=True, slots=True)
class _Order:
    """A figure to be drawn, told from others by all that it shows."""

    content: bytes
    draw: partial[Figure] = field(compare=False)


@lru_cache(maxsize=64)
def _drawn(order: _Order, palette: Palette, kind: Kind) -> bytes:
    """Draw a figure once: a run shows the same in its report's Markdown and as an artifact."""
    import matplotlib as mpl

    style = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same figure everywhere
        "font.size": 9,
        "text.color": palette.ink,
        "axes.labelcolor": palette.soft,
        "axes.edgecolor": palette.grid,
        "xtick.color": palette.soft,
        "ytick.color": palette.ink,
        "figure.facecolor": palette.paper,
        "axes.facecolor": palette.paper,
        "savefig.facecolor": palette.paper,
        "svg.hashsalt": "assay",
    }
    with mpl.rc_context(style):
        stream = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
        order.draw().savefig(stream, format=kind, dpi=144, metadata=metadata)
    return stream.getvalue()


def in_dark(svg: bytes) -> bytes:
    """Return a figure that was drawn in light colours in dark ones: drawing it anew costs more."""
    colours = {
        getattr(LIGHT, one.name).encode(): getattr(DARK, one.name).encode()
        for one in fields(Palette)
    }
    return re.sub(rb"#[0-9a-f]{6}\b", lambda found: colours.get(found[0], found[0]), svg)


def data_uri(image: bytes, kind: Kind) -> str:
    """Return an image as a `data:` address, to stand in a page without a file beside it."""
    media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return f"data:{media};base64,{base64.b64encode(image).decode()}"


def frame(axes: Axes, rows: int, palette: Palette) -> None:
    """Leave of an axis what helps to read it: a grid and figures below."""
    axes.set_ylim(rows - 0.45, -0.55)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=palette.grid, linewidth=0.8)
    axes.tick_params(axis="x", length=0, labelsize=8)
