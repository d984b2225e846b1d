"""The update of a training step: fused kernels in graph mode, the formula itself inside XLA.

| rule | graph mode | XLA |
|---|---|---|
| SGD | ResourceApplyGradientDescent, ResourceApplyMomentum (heavy ball and Nesterov) | formula |
| Adam, AdamW | ResourceApplyAdam | formula |
| the same with groups or averages | the kernels of each group; the averages after them | formula |
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
from polymodel.optim.average import EMA, Averaged
from polymodel.optim.base import Optimizer
from polymodel.optim.clip import Clip
from polymodel.optim.groups import Groups
from polymodel.optim.sgd import SGD
from polymodel.optim.update_graph import update_graph
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec
from polymodel_tensorflow.compat import tf, xla_kept
from polymodel_tensorflow.layout import Layout, inverse
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
    layouts: Mapping[str, Layout],
) -> None:
    """Update variables in place, with the fused kernel of the rule where there is one.

    Args:
        optimizer: the rule.
        parameters: variables by name.
        gradients: tensors by name, clipped already.
        slots: variables by "SLOT/NAME".
        scalars: 0-dim tensors of the parameters' dtype.
        dtype: of all parameters.
        layouts: order of axes in which parameters, their gradients and slots are stored.
    """
    if isinstance(optimizer, Averaged):
        fused_update(optimizer.inner, parameters, gradients, slots, scalars, dtype, layouts)
        for name in gradients:
            average = slots[f"{EMA}/{name}"]
            mixed = average.read_value() * scalars["ema.keep"] + parameters[name].read_value() * scalars["ema.mix"]
            average.assign(mixed, read_value=False)
        return
    if isinstance(optimizer, Groups):
        for number, rule in enumerate(optimizer.rules):
            chosen = {n: g for n, g in gradients.items() if optimizer.index(n) == number}
            own = {k.removeprefix(f"{number}."): v for k, v in scalars.items() if k.startswith(f"{number}.")}
            if chosen:
                fused_update(rule, parameters, chosen, slots, own, dtype, layouts)
        return
    kernel = _kernel(optimizer)
    if kernel is None:
        formula_update(optimizer, parameters, gradients, slots, scalars, dtype, layouts)
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
    layouts: Mapping[str, Layout],
    finite: Any = None,
) -> None:
    """Update variables in place by the rule's formula.

    Args:
        optimizer, parameters, gradients, slots, scalars, dtype, layouts: as for fused_update.
        finite: inside XLA, a 0-dim bool that says whether to update at all.
    """
    turned = {n: layouts.get(n) for n in gradients} if optimizer.positional else {}

    def inside(name: str, value: Any) -> Any:
        """In ONNX's order of axes, for a formula that depends on it."""
        back = inverse(turned.get(name))
        return value if back is None else tf.transpose(value, back)

    def outside(name: str, value: Any) -> Any:
        layout = turned.get(name)
        return value if layout is None else tf.transpose(value, layout)

    held = {f"p/{n}": parameters[n] for n in gradients}
    for name, gradient in gradients.items():
        held.update({f"{k}/{name}": slots[f"{k}/{name}"] for k in optimizer.slot_shapes(name, tuple(gradient.shape))})
    old = {key: inside(key.partition("/")[2], variable.read_value()) for key, variable in held.items()}
    feeds = {f"g/{n}": inside(n, g) for n, g in gradients.items()}
    specs = {n: TensorSpec(tuple(feeds[f"g/{n}"].shape), dtype) for n in gradients}

    def selected(target: str, value: Any) -> Any:
        return xla_kept(tf.where(finite, value, old[target.removeprefix("new/")]))

    graph = update_graph(optimizer, specs)
    results = _run(graph, {**feeds, **old, **scalars}, None if finite is None else selected)
    for target in graph.outputs:
        key = target.removeprefix("new/")
        held[key].assign(outside(key.partition("/")[2], results[target]), read_value=False)


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
