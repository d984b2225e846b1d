"""Defaults of the attributes of a file's own functions: written into the calls that leave them out.

The inliner of the onnx package 1.23 forgets them: an attribute that refers to one is left out then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnx import AttributeProto, ModelProto, NodeProto


def fill_defaults(model: ModelProto) -> None:
    """Give every call of a function all attributes that have defaults, in place."""
    defaults = {(f.domain, f.name): list(f.attribute_proto) for f in model.functions if f.attribute_proto}
    if defaults:
        for nodes in (model.graph.node, *(f.node for f in model.functions)):
            _fill(nodes, defaults)


def _fill(nodes: Iterable[NodeProto], defaults: Mapping[tuple[str, str], list[AttributeProto]]) -> None:
    for node in nodes:
        given = {a.name for a in node.attribute}
        node.attribute.extend(a for a in defaults.get((node.domain, node.op_type), ()) if a.name not in given)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _fill(attribute.g.node, defaults)
