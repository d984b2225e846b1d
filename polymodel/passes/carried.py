"""Where a compiled program is entered and left: declared types outside, carriers inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodel.errors import Unsupported
from polymodel.passes.carriers import carrier, decode, encode_all, is_carried
from polymodel.passes.carry_types import carry_types
from polymodel.passes.expand_functions import expand_functions
from polymodel.plan import Plan
from polymodel.spec import array_dtype

if TYPE_CHECKING:
    from polymodel.backend import Backend

__all__ = ["carried_plan", "check_trainable", "compile_carried", "compile_carried_step"]


def carried_plan(plan: Plan, backend: Backend) -> Plan:
    """The plan that a backend lowers: its functions expanded, types that the framework lacks held in others."""
    expanded = expand_functions(plan, backend.table)
    carried = carry_types(expanded, backend.capabilities().dtypes)
    return carried if carried is expanded else expand_functions(carried, backend.table)


def compile_carried(plan: Plan, backend: Backend, build: Callable[[Plan], Any]) -> Callable[..., Any]:
    """Compile a plan; what is made takes and returns arrays of the declared types.

    Args:
        plan: from `specialize`.
        backend: whose table and element types count.
        build: makes ``run(feeds, ...)`` or ``run(feeds, cotangents)`` from a plan; its results are named after inputs or
            outputs of the plan.
    """
    run: Callable[..., Any] = build(carried_plan(plan, backend))
    held = backend.capabilities().dtypes
    names = (*plan.inputs, *plan.outputs)
    if not any(is_carried(plan.specs[n].dtype, held) for n in names):
        return run

    def call(*feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = run(*(encode_all(f, held) for f in feeds))
        return {n: decode(a, plan.specs[n].dtype) for n, a in results.items()}

    return call


def compile_carried_step(plan: Plan, backend: Backend, build: Callable[[Plan], Any]) -> Callable[..., Any]:
    """The same for a training step, which returns numbers and is called with numbers besides the feeds."""
    run: Callable[..., Any] = build(carried_plan(plan, backend))
    held = backend.capabilities().dtypes
    if not any(is_carried(s.dtype, held) for s in plan.inputs.values()):
        return run
    return lambda feeds, scalars: run(encode_all(feeds, held), scalars)


def check_trainable(parameters: Mapping[str, np.ndarray], backend: Backend) -> None:
    """Refuse to train parameters of a type that the framework lacks.

    Raises:
        Unsupported: the update rule means arithmetic in that type, which its carrier does not do.
    """
    held = backend.capabilities().dtypes
    for name, array in parameters.items():
        dtype = array_dtype(array)
        if is_carried(dtype, held):
            raise Unsupported(
                f"parameter {name!r} is {dtype}, which backend {backend.name!r} holds in {carrier(dtype, held)} and cannot "
                "train: make it float32, or use another backend"
            )
