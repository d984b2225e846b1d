"""Is a protobuf message a graph at all? Checked in Python before any native code sees it.

1. IR version, operator sets and graph are there and known.
2. Functions do not call themselves and do not expand to more than MAX_NODES calls.
3. Every operator exists; those that do not are all named in one message.
4. Every value is made once, before it is used, in its scope; no cycles; nothing is missing.
5. Declared sizes can exist; graphs are nested at most MAX_DEPTH deep, functions call each other at most MAX_CALLS deep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

from polymodel import extensions
from polymodel.artifact.tensors import element_count
from polymodel.errors import ArtifactError

MAX_NODES = 1_000_000
MAX_DEPTH = 16
MAX_CALLS = 64
_OLDEST_IR = 3
_SHOWN = 20

Scopes: TypeAlias = tuple[set[str], ...]
"""Names made so far in each graph around a node, the innermost last."""

Functions: TypeAlias = Mapping[tuple[str, str], FunctionProto]


def check_structure(model: ModelProto) -> None:
    """Refuse what is no well-formed graph.

    Raises:
        ArtifactError: with the place and the reason.
    """
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise ArtifactError("the file holds no graph: it is empty, truncated, or not an ONNX file")
    if not _OLDEST_IR <= model.ir_version <= onnx.IR_VERSION:
        raise ArtifactError(
            f"the file has IR version {model.ir_version}; "
            f"onnx {onnx.__version__} reads {_OLDEST_IR} to {onnx.IR_VERSION}"
        )
    opsets = opset_versions(model)
    functions = {(f.domain, f.name): f for f in model.functions}
    if len(functions) != len(model.functions):
        raise ArtifactError("two functions of the file have the same domain and name")
    _check_expansion(model, functions)
    _check_operators(model, functions, opsets)
    _check_types(model.graph)
    _check_graph(model.graph, (), "the graph")
    for function in model.functions:
        _check_nodes(function.node, (set(function.input),), f"function {function.name!r}")


def _check_types(graph: GraphProto) -> None:
    """Refuse maps from keys to values, which only classifiers of ai.onnx.ml return."""
    for value in (*graph.input, *graph.output):
        kind = value.type
        while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
            kind = kind.sequence_type.elem_type if kind.HasField("sequence_type") else kind.optional_type.elem_type
        if kind.HasField("map_type"):
            raise ArtifactError(
                f"{value.name!r} holds maps from keys to values, which no backend has: export without ZipMap "
                "(skl2onnx: options={'zipmap': False}), so that labels and scores are tensors"
            )


def import_standard(model: ModelProto) -> None:
    """Add an import of the newest known standard to a file that uses operator sets of other domains only.

    Such a file (training operators, classical machine learning) means the same with every version of the standard.
    """
    domains = {"" if o.domain == "ai.onnx" else o.domain for o in model.opset_import}
    if domains and "" not in domains and not any(_key(node)[0] == "" for node in all_nodes(model.graph.node)):
        model.opset_import.append(onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version()))


def opset_versions(model: ModelProto) -> dict[str, int]:
    """Version of each operator set that the file imports; "" is ai.onnx."""
    versions: dict[str, int] = {}
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise ArtifactError(f"the file imports two versions of operator set {domain or 'ai.onnx'!r}")
    if "" not in versions:
        raise ArtifactError("the file does not say which version of the standard (opset_import) it uses")
    if not 1 <= versions[""] <= newest:
        raise ArtifactError(f"the file uses opset {versions['']}; onnx {onnx.__version__} knows 1 to {newest}")
    return versions


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(nodes: Sequence[NodeProto], depth: int = 0) -> Iterator[NodeProto]:
    """Every node, those of subgraphs included.

    Raises:
        ArtifactError: nested deeper than MAX_DEPTH.
    """
    if depth > MAX_DEPTH:
        raise ArtifactError(f"graphs are nested deeper than {MAX_DEPTH} levels")
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node, depth + 1)


def _key(node: NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def _check_expansion(model: ModelProto, functions: Functions) -> None:
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Sequence[NodeProto], path: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in all_nodes(nodes):
            key = _key(node)
            if key in path:
                raise ArtifactError(f"function {key[1]!r} calls itself: {' > '.join(n for _, n in (*path, key))}")
            if key in functions and key not in sizes:
                if len(path) > MAX_CALLS:
                    raise ArtifactError(f"functions call each other deeper than {MAX_CALLS} levels")
                sizes[key] = size(functions[key].node, (*path, key))
            total += 1 + sizes.get(key, 0)
            if total > MAX_NODES:
                raise ArtifactError(f"the graph has more than {MAX_NODES} nodes when its functions are written out")
        return total

    size(model.graph.node, ())


def _check_operators(model: ModelProto, functions: Functions, opsets: Mapping[str, int]) -> None:
    bodies: list[tuple[Sequence[NodeProto], Mapping[str, int]]] = [(model.graph.node, opsets)]
    bodies += [(f.node, {**opsets, **{o.domain: o.version for o in f.opset_import}}) for f in model.functions]
    unknown: dict[str, str] = {}
    for nodes, versions in bodies:
        for node in all_nodes(nodes):
            key = _key(node)
            if key in functions:
                continue
            name = f"{key[0] or 'ai.onnx'}::{key[1]}"
            known = _exists(*key, versions.get(key[0])) or extensions.find(*key, versions.get(key[0])) is not None
            if name not in unknown and not known:
                unknown[name] = node.name
    if unknown:
        shown = [f"{op} (node {where!r})" if where else op for op, where in sorted(unknown.items())]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        raise ArtifactError(
            f"{len(shown)} operator(s) are not in the standard at opset {opsets['']} and have no function in the file: "
            f"{', '.join(shown[:_SHOWN])}{more}. Export the model with standard operators or with functions for these, or "
            "register rules: pm.rule(domain, op_type, ...)"
        )


@lru_cache(maxsize=4096)
def _exists(domain: str, op_type: str, version: int | None) -> bool:
    if (domain, op_type) == ("", "GroupNormalization") and version is not None:  # lift.py rewrites what was taken back
        return version >= 18
    try:
        return version is not None and not onnx.defs.get_schema(op_type, version, domain).deprecated
    except (onnx.defs.SchemaError, TypeError, ValueError):
        return False


def _check_graph(graph: GraphProto, outer: Scopes, where: str) -> None:
    names: set[str] = set()
    for value in graph.input:
        if not value.name or value.name in names:
            raise ArtifactError(f"{where} has {_twice(value.name) if value.name else 'an input without a name'}")
        names.add(value.name)
    _check_sizes([*graph.input, *graph.output], where)
    stored: set[str] = set()
    for tensor in (*graph.initializer, *(s.values for s in graph.sparse_initializer)):
        if not tensor.name or tensor.name in stored:
            what = _twice(tensor.name) if tensor.name else "an initializer without a name"
            raise ArtifactError(f"{where} has {what}")
        stored.add(tensor.name)
    names |= stored
    scopes = (*outer, names)
    _check_nodes(graph.node, scopes, where)
    seen: set[str] = set()
    for value in graph.output:
        if not any(value.name in scope for scope in scopes):
            raise ArtifactError(f"{where} returns {value.name!r}, which nothing makes")
        if value.name in seen:
            raise ArtifactError(f"{where} has two outputs named {value.name!r}")
        seen.add(value.name)


def _twice(name: str) -> str:
    return f"two values named {name!r}: every value needs a name of its own"


def _check_sizes(values: Sequence[onnx.ValueInfoProto], where: str) -> None:
    for value in values:
        if value.type.HasField("tensor_type"):
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim if d.HasField("dim_value")]
            element_count([max(d, 0) for d in dims], f"{where}: value {value.name!r}")


def _check_nodes(nodes: Sequence[NodeProto], scopes: Scopes, where: str) -> None:
    """Check that each node's inputs are made before it; adds what nodes make to the innermost scope."""
    if len(scopes) > MAX_DEPTH:
        raise ArtifactError(f"graphs are nested deeper than {MAX_DEPTH} levels")
    names = scopes[-1]
    for node in nodes:
        for name in node.input:
            if name and not any(name in scope for scope in scopes):
                raise ArtifactError(_unmade(name, node, nodes, where))
        for attribute in node.attribute:
            if attribute.type == AttributeProto.UNDEFINED and not attribute.ref_attr_name:
                raise ArtifactError(f"{where}: attribute {attribute.name!r} of {_label(node)} has no type")
        for graph in subgraphs(node):
            _check_graph(graph, scopes, f"the subgraph of {_label(node)}")
        for name in node.output:
            if name and name in names:
                raise ArtifactError(f"{where} has {_twice(name)} (made again by {_label(node)})")
            names.add(name)
    names.discard("")


def _label(node: NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} -> {', '.join(node.output)}"


def _unmade(name: str, node: NodeProto, nodes: Sequence[NodeProto], where: str) -> str:
    """Why an input is not there: nothing makes it, a cycle, or the wrong order."""
    makers = {n: m for m in nodes for n in m.output}
    if name not in makers:
        return (
            f"{where}: {_label(node)} reads {name!r}, which is no input, no initializer and made by no node: "
            "an initializer is missing"
        )
    seen: set[str] = set()
    queue = [name]
    while queue:
        current = queue.pop()
        if current in seen or current not in makers:
            continue
        seen.add(current)
        if makers[current] is node:
            return f"{where} is cyclic: {_label(node)} reads {name!r}, which depends on its own result"
        queue.extend(makers[current].input)
    return f"{where} is not sorted: {_label(node)} reads {name!r} before {_label(makers[name])} makes it"
