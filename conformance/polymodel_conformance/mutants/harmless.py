"""Changes that leave the meaning as it is and round in another order: what is right must not be called wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from polymodel_conformance.mutants.mutant import Ask, Mutant, fed, nodes
from polymodel_conformance.mutants.rules import Wrong
from polymodel_conformance.workers.jobs import Job

_F = "forward/generated/"
Value: TypeAlias = "ir.Value | float | list[int]"
Put: TypeAlias = Callable[..., ir.Value]


def _written_out(op: str, write: Callable[[ir.Node, Put], tuple[str, list[Value]]]) -> Ask:
    """Calls of an operator written with others: `write(node, put)` puts calls in front and says what the last one is."""

    def change(node: ir.Node, body: ir.Graph) -> None:
        count = 0

        def value(x: Value) -> ir.Value:
            nonlocal count
            if isinstance(x, ir.Value):
                return x
            count += 1
            array = np.array(x, np.int64 if isinstance(x, list) else np.float32)
            found = ir.Value(name=f"constant{count}", shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.from_numpy(array.dtype)))
            found.const_value = ir.tensor(array, name=found.name)
            body.register_initializer(found)
            return found

        def put(op_type: str, *inputs: Value, **attributes: object) -> ir.Value:
            nonlocal count
            count += 1
            made = ir.node(op_type, [value(x) for x in inputs], attributes=attributes, name=f"{op_type}{count}")  # type: ignore[arg-type]
            made.outputs[0].name = f"{made.name}.out"
            body.insert_before(node, made)
            return made.outputs[0]

        op_type, inputs = write(node, put)
        last = [value(x) for x in inputs]
        node.op_type = op_type
        node.attributes.clear()
        node.resize_inputs(len(last))
        for i, x in enumerate(last):
            node.replace_input_with(i, x)

    return nodes([op], change)


def _given(node: ir.Node, number: int = 0) -> ir.Value:
    found = node.inputs[number]
    assert found is not None
    return found


def _gemm(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    return "Add", [put("MatMul", _given(node), put("Transpose", _given(node, 1), perm=[1, 0])), _given(node, 2)]


def _convolution(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    plain = put("Conv", _given(node), _given(node, 1), **{a.name: a.value for a in node.attributes.values()})
    return "Add", [plain, put("Reshape", _given(node, 2), [1, -1, 1, 1])]


def _softmax(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    x = _given(node)
    e = put("Exp", put("Sub", x, put("ReduceMax", x, [1])))
    return "Div", [e, put("ReduceSum", e, [1])]


def _log_softmax(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    x = _given(node)
    moved = put("Sub", x, put("ReduceMax", x, [-1]))
    return "Sub", [moved, put("Log", put("ReduceSum", put("Exp", moved), [-1]))]


def _layer_norm(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    x = _given(node)
    centred = put("Sub", x, put("ReduceMean", x, [-1]))
    variance = put("ReduceMean", put("Mul", centred, centred), [-1])
    y = put("Div", centred, put("Sqrt", put("Add", variance, 1e-5)))
    return "Add", [put("Mul", y, _given(node, 1)), _given(node, 2)]


def _gelu(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    x = _given(node)
    return "Mul", [put("Mul", x, 0.5), put("Add", put("Erf", put("Div", x, math.sqrt(2.0))), 1.0)]


def _mean(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    return "Div", [put("ReduceSum", _given(node), [0, 2], keepdims=0), 15.0]


def _sigmoid(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    return "Div", [1.0, put("Add", put("Exp", put("Neg", _given(node))), 1.0)]


def _global_average(node: ir.Node, put: Put) -> tuple[str, list[Value]]:
    return "ReduceMean", [_given(node), [2, 3]]


def _reversed(*axes: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda a: np.ascontiguousarray(np.flip(a, axes))


def _both(first: Ask, second: Ask) -> Ask:
    return lambda job: second(first(job))


def _algorithm_1(job: Job) -> Job:
    assert job.training is not None
    return replace(job, training=replace(job.training, optimizer=Wrong.of(job.training.optimizer, "algorithm 1")))


def _harmless(name: str, case: str, ask: Ask) -> Mutant:
    return Mutant(name, case, ask, harmless=True)


HARMLESS: tuple[Mutant, ...] = (
    _harmless("Gemm as MatMul and Add", f"{_F}gemm_linear", _written_out("Gemm", _gemm)),
    _harmless("the bias of a Conv added afterwards", f"{_F}conv_odd", _written_out("Conv", _convolution)),
    _harmless("Softmax written out", f"{_F}softmax_middle", _written_out("Softmax", _softmax)),
    _harmless("LogSoftmax written out", f"{_F}logsoftmax_last", _written_out("LogSoftmax", _log_softmax)),
    _harmless("LayerNormalization written out", f"{_F}layernorm", _written_out("LayerNormalization", _layer_norm)),
    _harmless("Gelu written with Erf", f"{_F}gelu", _written_out("Gelu", _gelu)),
    _harmless("ReduceMean as a sum and a division", f"{_F}reducemean_outer", _written_out("ReduceMean", _mean)),
    _harmless("Sigmoid written with Exp", f"{_F}sigmoid", _written_out("Sigmoid", _sigmoid)),
    _harmless("GlobalAveragePool as ReduceMean", f"{_F}global_average", _written_out("GlobalAveragePool", _global_average)),
    _harmless("4099 terms summed from the other end", f"{_F}matmul_long",
              _both(fed("i0", change=_reversed(1)), fed("i1", change=_reversed(0)))),
    _harmless("a long sum from the other end", f"{_F}reducesum_long", fed("i0", change=_reversed(1))),
    _harmless("channels of a Conv in another order", f"{_F}conv_odd",
              fed("i0", "i1", change=_reversed(1))),
    _harmless("samples of a batch in another order", "trajectory/mlp/sgd/step01", fed("x", "target", change=_reversed(0))),
    _harmless("Adam by algorithm 1 of the paper", "optimizers/adam/step2", _algorithm_1),
)
