"""Operators that move elements, written with other moves."""

from __future__ import annotations

from polymodel.bodies.table import BODIES, Body
from polymodel.plan import Node


@BODIES.rule("Scatter", since=9)
def scatter(b: Body, node: Node, data: str, indices: str, updates: str) -> str:
    return b.call("ScatterElements", data, indices, updates, axis=node.attr("axis"))
