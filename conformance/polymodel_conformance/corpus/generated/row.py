"""One generated call: operator, inputs, attributes; and the graph and the inputs that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

import numpy as np
import onnx
import onnx_ir as ir

from polymodel.graph import Graph
from polymodel.inference import OPSET, infer, schema, type_proto
from polymodel.spec import TensorSpec, numpy_dtype
from polymodel_conformance.corpus.entry import Entry


@final
@dataclass(frozen=True)
class Drawn:
    """A float input drawn for each seed.

    Attributes:
        shape: its sizes.
        kind: "normal", "positive" (from 0.1 on), "unit" (in (-0.9, 0.9)), "above" (from 1.1 on),
            "wide" (in (-1.3, 1.3)), "near" (centre plus up to 0.1).
        centre: for "near".
    """

    shape: tuple[int, ...]
    kind: str = "normal"
    centre: Any = None

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Float64 numbers."""
        match self.kind:
            case "positive":
                return np.asarray(np.abs(rng.standard_normal(self.shape)) + 0.1)
            case "above":
                return np.asarray(np.abs(rng.standard_normal(self.shape)) + 1.1)
            case "unit":
                return rng.uniform(-0.9, 0.9, self.shape)
            case "wide":
                return rng.uniform(-1.3, 1.3, self.shape)
            case "near":
                return np.asarray(self.centre + rng.uniform(-0.1, 0.1, self.shape))
            case _:
                return rng.standard_normal(self.shape)


@final
@dataclass(frozen=True)
class Fed:
    """An input that is fed as it is; bool and integer arrays that may not be known when lowering."""

    array: np.ndarray


Input: TypeAlias = "tuple[int, ...] | Drawn | Fed | np.ndarray | np.generic | None"
"""A shape (standard normal numbers), a draw, fed data, or an array or number that is a constant of the graph; bool arrays
are fed."""

_TYPES = {"float64": "tensor(double)", "float32": "tensor(float)", "float16": "tensor(float16)", "bfloat16": "tensor(bfloat16)"}


def positive(*shape: int) -> Drawn:
    """Numbers from 0.1 on."""
    return Drawn(shape, "positive")


def above(*shape: int) -> Drawn:
    """Numbers from 1.1 on."""
    return Drawn(shape, "above")


def unit(*shape: int) -> Drawn:
    """Numbers in (-0.9, 0.9)."""
    return Drawn(shape, "unit")


def near(centre: Any) -> Drawn:
    """Numbers that differ by up to 0.1 from given ones."""
    array = np.asarray(centre, np.float64)
    return Drawn(array.shape, "near", array)


def ints(*values: Any) -> np.ndarray:
    """An int64 vector."""
    return np.array(values, np.int64)


@final
@dataclass(frozen=True)
class Row:
    """A call to judge.

    Attributes:
        name: of the case.
        op: operator of the standard.
        inputs: what it is given.
        attributes: by name.
        outputs: how many to take, or a flag for each.
        opset: whose meaning it has; the lowest from OPSET on that has the operator, when None.
        smoke: part of the shortest profile.
        quick: part of the quick profile.
        double: also a float64 case, if the operator takes that type.
    """

    name: str
    op: str
    inputs: tuple[Input, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int | tuple[bool, ...] = 1
    opset: int | None = None
    smoke: bool = False
    quick: bool = True
    double: bool = True


def row(name: str, op: str, *inputs: Input, outputs: int | tuple[bool, ...] = 1, opset: int | None = None, smoke: bool = False,
        double: bool = True, **attributes: Any) -> Row:
    """A row; everything that is not an argument here is an attribute of the operator."""
    return Row(name, op, inputs, attributes, outputs, opset, smoke, True, double)


def entries_of(rows: list[Row]) -> list[Entry]:
    """The float32 case of each row, and the float64 case where there is one; all of those are in the full profile."""
    found = []
    for r in rows:
        found.append(entry_of(r, "float32"))
        if r.double and takes(r, "float64"):
            found.append(entry_of(r, "float64"))
    return found


def entry_of(r: Row, dtype: str = "float32") -> Entry:
    """The case of a row in one element type."""
    plain = dtype == "float32"
    return Entry(
        f"generated/{r.name}{'' if plain else f'_{dtype}'}",
        build(r.op, r.inputs, r.attributes, outputs=r.outputs, opset=r.opset, dtype=dtype),
        lambda seed: draw(r.inputs, seed, dtype),
        smoke=r.smoke and plain,
        quick=r.quick if plain else r.smoke,
    )


def opset_of(op: str) -> int:
    """The lowest opset from OPSET on that has an operator."""
    newest = onnx.defs.get_schema(op).since_version
    try:
        onnx.defs.get_schema(op, OPSET)
    except onnx.defs.SchemaError:
        return newest
    return OPSET


def takes(r: Row, dtype: str) -> bool:
    """Whether every float of a call may be of an element type."""
    known = schema(r.op, "", r.opset or opset_of(r.op))
    floats = [i for i, given in enumerate(r.inputs) if isinstance(given, tuple | Drawn)]
    return bool(floats) and all(_TYPES[dtype] in _types(known, i) for i in floats)


def _types(known: onnx.defs.OpSchema, i: int) -> list[str]:
    formal = known.inputs[min(i, len(known.inputs) - 1)]
    allowed = {c.type_param_str: list(c.allowed_type_strs) for c in known.type_constraints}
    return allowed.get(formal.type_str, [formal.type_str])


def build(
    op: str, inputs: tuple[Input, ...], attributes: Mapping[str, Any], *, outputs: int | tuple[bool, ...] = 1, opset: int | None = None,
    dtype: str = "float32",
) -> Graph:
    """The graph of one call, its inputs named i0, i1, ..., its outputs o0, o1, ...

    Args:
        op: operator of the standard.
        inputs: as in a Row.
        attributes: by name.
        outputs: how many to take, or a flag for each.
        opset: whose meaning it has.
        dtype: of the floats, except where the operator takes float32 only.
    """
    version = opset or opset_of(op)
    known = schema(op, "", version)
    specs: list[TensorSpec | None] = []
    constants: dict[str, np.ndarray] = {}
    for i, given in enumerate(inputs):
        if given is None:
            specs.append(None)
        elif isinstance(given, tuple | Drawn):
            specs.append(TensorSpec(given if isinstance(given, tuple) else given.shape, dtype))
        else:
            array = np.asarray(given.array if isinstance(given, Fed) else given)
            if array.dtype.kind == "f" and _TYPES[dtype] in _types(known, i):
                array = array.astype(numpy_dtype(dtype))
            specs.append(TensorSpec(array.shape, array.dtype.name))
            if not isinstance(given, Fed) and array.dtype != bool:
                constants[f"i{i}"] = array
    names = [f"i{i}" if s is not None else "" for i, s in enumerate(specs)]
    flags = (True,) * outputs if isinstance(outputs, int) else outputs
    results = [f"o{i}" if flag else "" for i, flag in enumerate(flags)]
    node = onnx.helper.make_node(op, names, results, name=op, **{k: v for k, v in attributes.items() if v is not None})
    found = infer(node, specs, constants, version)
    fed = [onnx.helper.make_value_info(n, type_proto(s)) for n, s in zip(names, specs, strict=True) if s is not None and n not in constants]
    returned = [onnx.helper.make_value_info(n, type_proto(s)) for n, s in zip(results, found, strict=True) if n]
    stored = [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()]
    body = onnx.helper.make_graph([node], "case", fed, returned, stored)
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", version)], ir_version=10)
    return Graph(ir.from_proto(model), tuple(str(v.name) for v in fed), tuple(n for n in results if n), {})


def draw(inputs: tuple[Input, ...], seed: int, dtype: str = "float32") -> dict[str, np.ndarray]:
    """What is fed for a seed."""
    rng = np.random.default_rng([seed, len(inputs)])
    feeds = {}
    for i, given in enumerate(inputs):
        if isinstance(given, tuple):
            given = Drawn(given)
        if isinstance(given, Drawn):
            feeds[f"i{i}"] = given.draw(rng).astype(numpy_dtype(dtype))
        elif isinstance(given, Fed):
            feeds[f"i{i}"] = given.array
        elif given is not None and np.asarray(given).dtype == bool:
            feeds[f"i{i}"] = np.asarray(given)
    return feeds
