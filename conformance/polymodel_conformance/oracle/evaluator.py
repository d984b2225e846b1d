"""Running a Plan in float64: values, derivatives, and the decisions taken on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.plan import Node, Plan
from polymodel_conformance.oracle import (
    attention,
    convolution,
    elementwise,
    gated,
    interpolation,
    linear,
    loss,
    movement,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    regions,
    scatter,
    signal,
)
from polymodel_conformance.oracle.reference import EXACT
from polymodel_conformance.oracle.reference import evaluate as by_reference
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Array, Kinks, Noise, Tape, Value

RULES = (
    attention, convolution, elementwise, gated, interpolation, linear, loss, movement, normalization, pooling, quantization,
    recurrent, reduction, regions, scatter, signal,
)
"""The modules whose import fills the table."""


@final
@dataclass(frozen=True)
class Evaluation:
    """What one run of a Plan computed.

    Attributes:
        values: every value of the plan by name, floats in float64.
        tape: how they were computed.
    """

    values: Mapping[str, Value]
    tape: Tape

    def outputs(self, names: Sequence[str]) -> dict[str, Array]:
        """Arrays by name."""
        return {n: self.values[n].array for n in names}

    def vjp(self, cotangents: Mapping[str, Array], wrt: Sequence[str]) -> dict[str, Array]:
        """Derivatives of the sum of <cotangent, value> with respect to inputs, by name; zeros where nothing flows."""
        leaves = {n: self.values[n] for n in wrt if n in self.values}
        found = self.tape.vjp([(self.values[n], g) for n, g in cotangents.items()], list(leaves.values()))
        return dict(zip(leaves, found, strict=True))


def supports(plan: Plan) -> tuple[str, ...]:
    """Operators of a plan that the oracle cannot evaluate; empty when it can evaluate all."""
    return tuple(
        sorted({n.op_type for n in plan.nodes if (n.domain, n.op_type) not in ORACLE and n.op_type not in EXACT})
    )


def evaluate(
    plan: Plan,
    feeds: Mapping[str, Array],
    *,
    noise: Noise | None = None,
    kinks: Kinks | None = None,
    record: bool = True,
) -> Evaluation:
    """Run a plan.

    Args:
        plan: specialised to the shapes of the feeds.
        feeds: arrays for every input of the plan: user inputs, parameters, buffers, streams.
        noise: rounding errors to put in; none for the oracle itself.
        kinks: watches (and turns) decisions.
        record: whether derivatives will be asked for.

    Raises:
        NotImplementedError: an operator that the oracle does not have.
    """
    tape = Tape(noise, kinks, record=record)
    values = {n: tape.value(feeds[n]) for n in plan.inputs}
    values.update({n: tape.value(a) for n, a in plan.constants.items()})
    for node in plan.nodes:
        arguments = [values[n] if n else None for n in node.input_names]
        with np.errstate(all="ignore"):
            results = _call(node, arguments, tape)
        values.update((n, v) for n, v in zip(node.output_names, results, strict=False) if n)
    return Evaluation(values, tape)


def _call(node: Node, arguments: Sequence[Value | None], tape: Tape) -> tuple[Value, ...]:
    if (node.domain, node.op_type) in ORACLE:
        result = ORACLE.find(node).function(node, *arguments)
        return result if isinstance(result, tuple) else (result,)
    if node.op_type not in EXACT:
        raise NotImplementedError(f"the oracle has no rule for {node}")
    first = arguments[0] if arguments else None
    if node.op_type in ("ArgMax", "ArgMin") and first is not None and first.is_float:
        _decide_extreme(first.array if node.op_type == "ArgMax" else -first.array, node.axis(), tape)
    for a in arguments:
        if a is not None and a.is_float and node.op_type in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
            other = next((b for b in arguments if b is not None and b is not a), a)
            with np.errstate(invalid="ignore"):
                tape.kinks.decide(np.abs(a.array - other.array))
            break
    found = by_reference(node, [None if a is None else a.array for a in arguments])
    wanted = iter(found)
    return tuple(tape.value(next(wanted) if n else np.zeros(0)) for n in node.output_names)


def _decide_extreme(array: Array, axis: int, tape: Tape) -> None:
    """Which element is the largest, is decided by its distance from the second."""
    if array.shape[axis] > 1 and array.size:
        second, largest = np.moveaxis(np.partition(array, -2, axis), axis, 0)[-2:]
        with np.errstate(invalid="ignore"):
            tape.kinks.decide(largest - second)
