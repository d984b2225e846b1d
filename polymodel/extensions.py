"""What is known of operators outside the standard: schema, types of outputs, NumPy meaning, and rules not yet installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, final

import numpy as np
import onnx

from polymodel.errors import ConfigError, GraphError, ShapeError
from polymodel.plan import Node
from polymodel.rules import RuleTable
from polymodel.spec import TensorSpec

Infer: TypeAlias = Callable[..., "TensorSpec | Sequence[TensorSpec]"]
"""``infer(node, *inputs)``: the call and the spec of each input (None where left out) -> spec of each output. `node`
has the attributes and the inputs that are known ahead (`node.attr`, `node.const`)."""


STANDARD_DOMAINS = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "polymodel"}
)
"""Operator sets that nobody else may add to."""

_TYPES = [f"tensor({t})" for t in ("float", "double", "float16", "bfloat16", "bool", "string", "int8", "int16", "int32",
                                   "int64", "uint8", "uint16", "uint32", "uint64", "complex64", "complex128")]  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class CustomOperator:
    """One version of an operator outside the standard.

    Attributes:
        domain, op_type, since: which.
        infer: types of its outputs; None gives every output the type of the first input.
        reference: NumPy function of its inputs, with attributes by keyword, for the float64 meaning; None has none.
        defaults: values of attributes that a call leaves out.
        schema: what the operator looks like to those who ask for schemas.
    """

    domain: str
    op_type: str
    since: int
    infer: Infer | None
    reference: Callable[..., Any] | None
    defaults: Mapping[str, Any]
    schema: onnx.defs.OpSchema


operators: dict[tuple[str, str], dict[int, CustomOperator]] = {}
tables: dict[str, RuleTable] = {}
waiting: dict[str, list[tuple[str, str, int, Callable[..., Any]]]] = {}


def find(domain: str, op_type: str, version: int | None) -> CustomOperator | None:
    """The operator in force at a version of its domain; None when nobody registered it."""
    versions = operators.get((domain, op_type), {})
    fitting = [v for v in versions if version is not None and v <= version]
    return versions[max(fitting)] if fitting else None


def infer_outputs(
    operator: CustomOperator,
    proto: onnx.NodeProto,
    inputs: Sequence[TensorSpec | None],
    constants: Mapping[str, np.ndarray],
) -> list[TensorSpec]:
    """Specs of the outputs of a call.

    Raises:
        ShapeError: the registered function gives too few, or there is none and no first input.
    """
    given = {a.name: plain_value(onnx.helper.get_attribute_value(a)) for a in proto.attribute}
    node = Node(
        op_type=proto.op_type, domain=proto.domain, version=operator.since, name=proto.name,
        attributes={**operator.defaults, **given}, input_names=tuple(proto.input), output_names=tuple(proto.output),
        inputs=tuple(inputs), outputs=(),
        constants={i: constants[n] for i, n in enumerate(proto.input) if n in constants},
    )  # fmt: skip
    if operator.infer is None:
        first = next((s for s in inputs if s is not None), None)
        if first is None:
            raise ShapeError(f"{node}: it has no input, so what it returns has to be said: register a rule with infer=")
        return [replace(first) for _ in proto.output]
    found = operator.infer(node, *inputs)
    specs = [found] if isinstance(found, TensorSpec) else list(found)
    if len(specs) < len(proto.output) or not all(isinstance(s, TensorSpec) for s in specs):
        raise ShapeError(f"{node}: infer= gave {specs!r}, expected a TensorSpec for each of {len(proto.output)} outputs")
    return specs[: len(proto.output)]


def references() -> list[CustomOperator]:
    """The newest version of every operator that has a NumPy function."""
    newest = [versions[max(versions)] for versions in operators.values()]
    return [o for o in newest if o.reference is not None]


def declare(
    domain: str, op_type: str, since: int, infer: Infer | None, reference: Any, defaults: Mapping[str, Any]
) -> None:
    """Say what an operator is; what an earlier rule of the version said stays where this one says nothing."""
    versions = operators.setdefault((domain, op_type), {})
    known = versions.get(since)
    if known is not None:
        infer, reference = infer or known.infer, reference or known.reference
        defaults = {**known.defaults, **defaults}
    versions[since] = CustomOperator(
        domain, op_type, since, infer, reference, dict(defaults), _schema(domain, op_type, since, defaults)
    )


def _schema(domain: str, op_type: str, since: int, defaults: Mapping[str, Any]) -> onnx.defs.OpSchema:
    kind = onnx.defs.OpSchema
    many: Any = {"param_option": kind.FormalParameterOption.Variadic, "is_homogeneous": False, "min_arity": 0}
    attributes: list[Any] = [
        kind.Attribute(name, onnx.helper.make_attribute(name, value), "") for name, value in defaults.items()
    ]
    return kind(
        op_type,
        domain,
        since,
        inputs=[kind.FormalParameter("inputs", "T", "", **many)],
        outputs=[kind.FormalParameter("outputs", "T", "", **many)],
        type_constraints=[("T", _TYPES, "")],
        attributes=attributes,
    )


def install(backend: str, table: RuleTable) -> None:
    """Give a backend that was just loaded the rules that wait for it."""
    tables[backend] = table
    for entry in waiting.pop(backend, []):
        add(table, *entry)


def add(table: RuleTable, domain: str, op_type: str, since: int, function: Callable[..., Any]) -> None:
    """Put a rule into a table; ConfigError when there is one."""
    try:
        table.rule(op_type, since=since, domain=domain)(function)
    except ValueError as error:
        raise ConfigError(f"{error}: pm.custom.forget({domain!r}, {op_type!r}) takes it back") from None


def plain_value(value: Any) -> Any:
    """An attribute's value as rules see it: text, numbers, tuples of them, arrays."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return tuple(plain_value(v) for v in value)
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def no_schema(domain: str, op_type: str, opset: int) -> GraphError:
    """The error for an operator that neither the standard nor a user knows."""
    way = "" if domain in STANDARD_DOMAINS else f": register one with pm.rule({domain!r}, {op_type!r}, ...)"
    return GraphError(f"operator {domain or 'ai.onnx'}::{op_type} does not exist at opset {opset}{way}")
