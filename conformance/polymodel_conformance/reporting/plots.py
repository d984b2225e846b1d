"""Small drawings for the report, as SVG: how far each step of a training is from the float64 one, inside its envelope."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

COLOURS = ("#2f6fd0", "#c46a00", "#1f8a5b", "#a03fb0")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 340.0, 170.0, 40.0, 10.0, 12.0, 26.0
_LOWEST = 1e-2


def plot(trajectory: Mapping[str, Any], backends: Sequence[str]) -> str:
    """One drawing: steps to the right, error in units of the rounding floor upwards (logarithmic), the envelope shaded.

    Args:
        trajectory: of `drill.trajectories`.
        backends: in the order of their colours.
    """
    limit, series = trajectory["limit"], trajectory["on"]
    steps = sorted({at for points in series.values() for at, _ in points})
    scores = [s for points in series.values() for _, s in points if math.isfinite(s)]
    highest = 10.0 ** math.ceil(math.log10(max([limit * 3, *scores, 1.0])))

    def x(at: int) -> float:
        share = (steps.index(at) + 0.5) / len(steps)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        low, high = math.log10(_LOWEST), math.log10(highest)
        share = (math.log10(min(max(value, _LOWEST), highest)) - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img">']
    parts.append(f'<rect class="envelope" x="{_LEFT}" y="{y(limit)}" width="{right - _LEFT}" height="{bottom - y(limit)}"/>')
    parts.append(f'<line class="limit" x1="{_LEFT}" x2="{right}" y1="{y(limit)}" y2="{y(limit)}"/>')
    for power in range(round(math.log10(_LOWEST)), round(math.log10(highest)) + 1):
        at = y(10.0**power)
        parts.append(f'<text x="{_LEFT - 5}" y="{at + 3.5}" text-anchor="end">{_tick(power)}</text>')
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
    every = max(1, math.ceil(len(steps) / 8))
    parts += [f'<text x="{x(s)}" y="{_HEIGHT - 9}" text-anchor="middle">{s}</text>' for s in steps[::every]]
    for number, backend in enumerate(backends):
        points = series.get(backend, [])
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x(at)},{y(score)}" for at, score in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{line}"/>')
        for at, score in points:
            said = escape(f"{backend}, step {at}: {score:.3g} of {limit:g}")
            size = 4 if score > limit else 2.6
            parts.append(f'<circle cx="{x(at)}" cy="{y(score)}" r="{size}" fill="{colour}"><title>{said}</title></circle>')
    return "".join(parts) + "</svg>"


def _tick(power: int) -> str:
    return f"{10.0**power:g}" if abs(power) < 4 else f"1e{power}"
