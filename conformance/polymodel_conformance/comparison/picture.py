"""Where the error grows: a drawing with the calls from left to right and rho upwards, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from polymodel_conformance.comparison.layers import Layer
from polymodel_conformance.comparison.meaning import FAMILY
from polymodel_conformance.tolerance.calibration import limit

if TYPE_CHECKING:
    from polymodel_conformance.comparison.report import Compared

_COLOURS = ("#1f5fbf", "#c46a00")
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 1080.0, 56.0, 380.0
_WIDTH, _HEIGHT = 1100, 500
_LOWEST = 1e-3
_MOST_NAMES = 40


def drawing(found: Compared) -> str:
    """An SVG document; without calls it says that there are none."""
    environment = Environment(
        loader=PackageLoader("polymodel_conformance.comparison", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    longest = max(found.sides, key=lambda s: len(s.layers)).layers
    rhos = [v for s in found.sides for layer in s.layers for v in (layer.grown, layer.rho) if v is not None and math.isfinite(v)]
    decades = max(1, math.ceil(math.log10(max((*rhos, limit(FAMILY) * 2)))))
    ticks = [{"y": _y(10.0**d, decades), "text": f"1e{d}"} for d in range(round(math.log10(_LOWEST)), decades + 1)]
    step = max(1, math.ceil(len(longest) / _MOST_NAMES))
    names = [{"x": _x(i, len(longest)), "text": layer.op_type} for i, layer in enumerate(longest) if i % step == 0]
    return environment.get_template("picture.svg").render(
        title=f"{found.sides[0].label} and {found.sides[1].label}: {found.verdict}",
        width=_WIDTH, height=_HEIGHT, left=_LEFT, right=_RIGHT, bottom=_BOTTOM, ticks=ticks, names=names,
        limit=f"{limit(FAMILY):g}", limit_y=_y(limit(FAMILY), decades),
        sides=[
            {"label": s.label, "colour": c, "note": "" if s.layers else " (shows no values inside)", **_marks(s.layers, decades)}
            for s, c in zip(found.sides, _COLOURS, strict=True)
        ],
    )  # fmt: skip


def _marks(layers: Sequence[Layer], decades: int) -> dict[str, Any]:
    points = [(_x(i, len(layers)), layer.grown) for i, layer in enumerate(layers) if layer.grown is not None]
    line = " ".join(f"{x:.1f},{_y(v, decades):.1f}" for x, v in points)
    dots = [
        {"x": _x(i, len(layers)), "y": _y(layer.rho, decades), "bad": layer.bad, "text": f"{layer.title}: rho {layer.rho:.3g}"}
        for i, layer in enumerate(layers) if layer.rho is not None
    ]  # fmt: skip
    return {"lines": [line] if line else [], "dots": dots}


def _x(index: int, count: int) -> float:
    return round(_LEFT + 10 + (_RIGHT - _LEFT - 20) * (index + 0.5) / max(1, count), 1)


def _y(rho: float, decades: int) -> float:
    """Infinite errors stand at the top, those below 1e-3 at the bottom."""
    lowest = math.log10(_LOWEST)
    power = decades if not math.isfinite(rho) else min(max(math.log10(max(rho, _LOWEST)), lowest), decades)
    return round(_BOTTOM - (_BOTTOM - _TOP) * (power - lowest) / (decades - lowest), 1)
