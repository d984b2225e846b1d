"""Plan -> generated Python code: every rule runs once, on torch.fx proxies; what it does is recorded, not computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from polymodel.errors import PolymodelError, Unsupported
from polymodel.passes.expand_functions import expand_functions
from polymodel.passes.fuse import fuse
from polymodel.passes.pool_first import pool_first
from polymodel.passes.widen import GATHERING, widen
from polymodel.plan import Node, Plan
from polymodel_torch.compat import SLOW_HALVES, torch
from polymodel_torch.dtypes import NAMES, to_torch
from polymodel_torch.inplace import overwrite
from polymodel_torch.rules import TABLE
from polymodel_torch.rules.table import TRACER

_SEVERAL_TERMS = frozenset({"Max", "Min", "Sum", "Mean"})
"""Operators that are several native ones, between whose derivatives half precision would be rounded."""
_GATHERED_IN_HALF = frozenset({"LayerNormalization", "RMSNormalization"})
"""Operators whose sums PyTorch's kernels for a CPU gather in half precision."""
_DERIVATIVES_IN_HALF = GATHERING | {"Pad", "AveragePool", "MaxPool"}
"""And those whose derivatives are such sums."""
_PRODUCTS = frozenset("Linear MatMul Gemm Einsum Conv ConvTranspose LSTM GRU RNN".split())
"""Operators that oneDNN computes in half precision where the processor has instructions for it; what stands in elsewhere gathers
some sums in half, and takes many times as long as float32 (tests/backends/torch/test_halves.py)."""


@final
@dataclass(frozen=True)
class Lowered:
    """A plan as generated code.

    Attributes:
        module: a torch.fx.GraphModule; `module.code` is readable Python.
        inputs: names of its positional arguments.
        outputs: names of the tensors in the tuple that it returns.
        constants: tensors that the code itself holds.
    """

    module: Callable[..., tuple[torch.Tensor, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple[torch.Tensor, ...]


def lower(plan: Plan, device: str, prepare: Callable[[Plan], Plan] | None = None, *, derivatives: bool = True) -> Lowered:
    """Lower a plan.

    Args:
        plan: from `specialize`.
        device: where constants live.
        prepare: a further pass over the plan, after the fusion of passes/fuse.py.
        derivatives: whether anything may be differentiated.

    Raises:
        Unsupported: an operator or element type that this backend lacks.
        NeedsStaticShape: a rule needs a size that is unknown.
    """
    plan = fuse(expand_functions(plan, TABLE), TABLE)
    plan = widen(plan, _SEVERAL_TERMS)
    if device == "cpu":
        plan = widen(plan, _GATHERED_IN_HALF | _DERIVATIVES_IN_HALF if derivatives else _GATHERED_IN_HALF)
        plan = widen(plan, _PRODUCTS, SLOW_HALVES)
    plan = overwrite(pool_first(plan))
    if prepare is not None:
        plan = prepare(plan)
    _check_dtypes(plan)
    tracer = torch.fx.Tracer()
    tracer.root = torch.nn.Module()
    tracer.graph = torch.fx.Graph(tracer_cls=torch.fx.Tracer)
    tracer.tensor_attrs = {}
    values: dict[str, Any] = {}
    for i, name in enumerate(plan.inputs):
        values[name] = tracer.create_proxy("placeholder", f"in_{i}", (), {})
    constants = {n: to_torch(np.array(a), device) for n, a in plan.constants.items()}
    token = TRACER.set(tracer)
    try:
        with torch.device(device):
            for node in plan.nodes:
                inputs = [_value(n, values, constants) if n else None for n in node.input_names]
                results = _apply(node, inputs)
                values.update((n, r) for n, r in zip(node.output_names, results, strict=False) if n)
    finally:
        TRACER.reset(token)
    outputs = tuple(_value(n, values, constants) for n in plan.outputs)
    tracer.create_node("output", "output", (tracer.create_arg(outputs),), {})
    module = torch.fx.GraphModule(tracer.root, tracer.graph, "Lowered")
    return Lowered(module, tuple(plan.inputs), plan.outputs, tuple(constants.values()))


def _value(name: str, values: dict[str, Any], constants: dict[str, torch.Tensor]) -> Any:
    return values[name] if name in values else constants[name]


def _apply(node: Node, inputs: list[Any]) -> tuple[Any, ...]:
    rule = TABLE.find(node)
    while len(inputs) > 1 and inputs[-1] is None:
        inputs.pop()
    try:
        result = rule.function(node, *inputs)
    except PolymodelError:
        raise
    except Exception as error:
        raise Unsupported(f"backend 'torch' cannot lower {node}: {error}") from error
    return result if isinstance(result, tuple) else (result,)


def _check_dtypes(plan: Plan) -> None:
    for name, spec in plan.specs.items():
        used = name in plan.inputs or name in plan.constants or name in plan.outputs
        if used and spec.dtype not in NAMES:
            raise Unsupported(f"value {name!r} is {spec}: PyTorch programs hold {', '.join(sorted(NAMES))}")

