"""The update of a training step: fused kernels in graph mode, the formula itself inside XLA.

| rule | graph mode | XLA |
|---|---|---|
| SGD | ResourceApplyGradientDescent, ResourceApplyMomentum (heavy ball and Nesterov) | formula |
| Adam, AdamW | ResourceApplyAdam | formula |
| any other | formula | formula |

"Formula" is the lowered graph of `Optimizer.update`. Inside XLA each new value is selected from the formula's and the old
one, by whether the loss is finite, and a slot is computed once, before the parameter that depends on it: melted into
one loop XLA would read the old slot twice and copy it first. In graph mode the update stands in one branch of a
conditional.

ResourceApplyAdam gets beta powers of 0, lr = step_size and epsilon = eps_hat of `Optimizer.scalars`: its own bias
correction, 1 - beta^t in float32, is then the number 1, and nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.optim.adam import Adam, AdamW
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.optim.sgd import SGD
from polymodel.optim.update_graph import update_graph
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec
from polymodel_tensorflow.compat import tf, xla_kept
from polymodel_tensorflow.lower import Settle, lower, prepare

Variables: TypeAlias = Mapping[str, Any]
Fused: TypeAlias = Callable[[Any, Any, Mapping[str, Any], Mapping[str, Any]], None]


def clipped(clip: Clip | None, gradients: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Gradients after clipping."""
    if clip is None or not gradients:
        return dict(gradients)
    b = Builder()
    with b.active():
        inputs = {n: b.input(f"g/{n}", TensorSpec(tuple(g.shape), dtype)) for n, g in gradients.items()}
        for name, tensor in clip.apply(b, inputs).items():
            b.output(f"new/g/{name}", tensor)
    feeds = {f"g/{n}": g for n, g in gradients.items()}
    results = _run(b.finish(), feeds)
    return {n: results[f"new/g/{n}"] for n in gradients}


def fused_update(
    optimizer: Optimizer,
    parameters: Variables,
    gradients: Mapping[str, Any],
    slots: Variables,
    scalars: Mapping[str, Any],
    dtype: str,
) -> None:
    """Update variables in place, with the fused kernel of the rule where there is one.

    Args:
        optimizer: the rule.
        parameters: variables by name.
        gradients: tensors by name, clipped already.
        slots: variables by "SLOT/NAME".
        scalars: 0-dim tensors of the parameters' dtype.
        dtype: of all parameters.
    """
    kernel = _kernel(optimizer)
    if kernel is None:
        formula_update(optimizer, parameters, gradients, slots, scalars, dtype)
        return
    for name, gradient in gradients.items():
        kernel(parameters[name], gradient, {s: slots[f"{s}/{name}"] for s in optimizer.slots}, scalars)


def formula_update(
    optimizer: Optimizer,
    parameters: Variables,
    gradients: Mapping[str, Any],
    slots: Variables,
    scalars: Mapping[str, Any],
    dtype: str,
    finite: Any = None,
) -> None:
    """Update variables in place by the rule's formula.

    Args:
        optimizer, parameters, gradients, slots, scalars, dtype: as for fused_update.
        finite: inside XLA, a 0-dim bool that says whether to update at all.
    """
    specs = {n: TensorSpec(tuple(g.shape), dtype) for n, g in gradients.items()}
    targets = {f"new/p/{n}": parameters[n] for n in gradients}
    for name in gradients:
        targets.update({f"new/{s}/{name}": slots[f"{s}/{name}"] for s in optimizer.slots})
    old = {target: variable.read_value() for target, variable in targets.items()}
    feeds = {f"g/{n}": g for n, g in gradients.items()}
    feeds.update({target.removeprefix("new/"): value for target, value in old.items()})

    def selected(target: str, value: Any) -> Any:
        return xla_kept(tf.where(finite, value, old[target]))

    results = _run(update_graph(optimizer, specs), {**feeds, **scalars}, None if finite is None else selected)
    for target, variable in targets.items():
        variable.assign(results[target], read_value=False)


def _run(graph: Graph, feeds: Mapping[str, Any], settle: Settle | None = None) -> dict[str, Any]:
    plan = prepare(specialize(graph, graph.outputs))
    values = lower(plan, {n: (feeds[n], None) for n in plan.inputs}, settle)
    return {n: values.get(n) for n in plan.outputs}


def _kernel(optimizer: Optimizer) -> Fused | None:
    if isinstance(optimizer, SGD):
        return _sgd(optimizer)
    if isinstance(optimizer, Adam | AdamW):
        return _adam(optimizer)
    return None


def _sgd(rule: SGD) -> Fused:
    def update(p: Any, g: Any, slots: Mapping[str, Any], s: Mapping[str, Any]) -> None:
        if rule.weight_decay:
            g = g + p.read_value() * tf.cast(rule.weight_decay, g.dtype)
        if rule.momentum:
            tf.raw_ops.ResourceApplyMomentum(
                var=p.handle,
                accum=slots["momentum_buffer"].handle,
                lr=s["lr"],
                grad=g,
                momentum=tf.constant(rule.momentum, g.dtype),
                use_nesterov=rule.nesterov,
            )
        else:
            tf.raw_ops.ResourceApplyGradientDescent(var=p.handle, alpha=s["lr"], delta=g)

    return update


def _adam(rule: Adam | AdamW) -> Fused:
    def update(p: Any, g: Any, slots: Mapping[str, Any], s: Mapping[str, Any]) -> None:
        if rule.weight_decay and isinstance(rule, Adam):
            g = g + p.read_value() * tf.cast(rule.weight_decay, g.dtype)
        if rule.weight_decay and isinstance(rule, AdamW):
            p.assign(p.read_value() * s["decay"], read_value=False)
        zero = tf.constant(0, g.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=p.handle,
            m=slots["exp_avg"].handle,
            v=slots["exp_avg_sq"].handle,
            beta1_power=zero,
            beta2_power=zero,
            lr=s["step_size"],
            beta1=tf.constant(rule.betas[0], g.dtype),
            beta2=tf.constant(rule.betas[1], g.dtype),
            epsilon=s["eps_hat"],
            grad=g,
        )

    return update
