"""The whole update of a step as one graph: clipping, then the rule for every parameter.

A backend lowers it like any other graph, unless it has a fused kernel that conformance shows to be the same. Value
names: parameter "p/NAME", gradient "g/NAME", slot "SLOT/NAME", scalars by their own name; results have "new/" in front.
"""

from __future__ import annotations

from collections.abc import Mapping

from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.spec import TensorSpec


def update_graph(optimizer: Optimizer, specs: Mapping[str, TensorSpec], clip: Clip | None = None) -> Graph:
    """Build the update.

    Args:
        optimizer: the rule.
        specs: spec of every parameter to update, by name; all of one dtype.
        clip: applied to the gradients first.
    """
    b = Builder()
    with b.active():
        dtype = next(iter(specs.values())).dtype
        params = {n: b.input(f"p/{n}", s) for n, s in specs.items()}
        grads = {n: b.input(f"g/{n}", s) for n, s in specs.items()}
        slots = {
            n: {k: b.input(f"{k}/{n}", TensorSpec(shape, dtype)) for k, shape in _slot_shapes(optimizer, n, s).items()}
            for n, s in specs.items()
        }
        scalars = {k: b.input(k, TensorSpec((), dtype)) for k in optimizer.scalars(optimizer.lr, 1)}
        if clip is not None:
            grads = clip.apply(b, grads)
        for name in specs:
            with b.scope(name):
                p, new = optimizer.rule_for(name).update(b, params[name], grads[name], slots[name], scalars)
            if p is not params[name]:
                b.output(f"new/p/{name}", p)
            for k, v in new.items():
                b.output(f"new/{k}/{name}", v)
    return b.finish()


def _slot_shapes(optimizer: Optimizer, name: str, spec: TensorSpec) -> dict[str, tuple[int, ...]]:
    return optimizer.slot_shapes(name, tuple(d for d in spec.shape if isinstance(d, int)))
