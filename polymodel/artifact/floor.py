"""What a graph means in float64, and how far honest float32 arithmetic may be from it.

The rounding floor is measured, not guessed: the float64 evaluation is repeated with every operator's floating-point
inputs and outputs multiplied by (1 + u xi), xi uniform in [-1, 1], u the unit roundoff of the graph's element type
(Monte Carlo arithmetic; D. S. Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997). The root mean square distance
of these runs from the exact one carries the condition number of the graph with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from polymodel import random
from polymodel.artifact.reference_ops import replaced
from polymodel.errors import ArtifactError
from polymodel.graph import Graph
from polymodel.passes.promote import promote
from polymodel.passes.to_dtype import to_dtype

SAMPLES = 40
_MOST_RUNS = 8
_LARGE = 1024  # elements; shapes, axes and counts, which shape inference reads, have fewer
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
_SIZES = {"Range": (0, 1, 2), "Resize": (2,), "Upsample": (1,)}
"""Floating-point inputs that say how many elements there are: 2.9999998 times as many is one less."""
UNDERFLOW = {"float16": 2.0**-24, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}
"""Numbers below may come out as zero: the smallest of float16, the smallest normal ones of types that processors flush."""
ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


@final
@dataclass(frozen=True)
class Meaning:
    """The exact value of one output and its floor.

    Attributes:
        value: float64 for a floating-point output, its own type otherwise.
        sigma: root mean square distance of the perturbed runs; 0 where they all agree.
        decided: for other types, where the perturbed runs all agree with the exact one.
        scale: root mean square of the value.
    """

    value: np.ndarray
    sigma: float
    decided: np.ndarray
    scale: float


def meaning(
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    samples: int = SAMPLES,
    *,
    rough: Collection[str] = (),
    long_sums: bool = False,
) -> dict[str, Meaning]:
    """Evaluate a graph exactly, and measure its floor.

    Args:
        graph: parameters and buffers are taken from it.
        feeds: one array for each input.
        samples: perturbed elements of each output from which its floor is measured; at least two runs are made.
        rough: operators with results between -1 and 1 whose error is u, not u times their value.
        long_sums: whether a sum of n terms of one sign, added up one after the other, carries the random walk of its
            partial sums: u sqrt(n) / 3 of its value, root mean square (docs/decisions/0006).

    Returns:
        One Meaning for each output.

    Raises:
        ArtifactError: the reference evaluator of the onnx package cannot run the graph.
    """
    drawn = sorted({n.op_type for n in graph.model.graph if n.op_type in _RANDOM})
    if drawn:
        raise ArtifactError(f"the graph draws random numbers ({', '.join(drawn)}): its runs cannot be compared")
    wide = to_dtype(lighten(graph), "float64")
    values = {**feeds, **wide.parameters, **wide.buffers}
    values = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in values.items()}
    try:
        session = reference_session(wide.proto())
        exact = run_reference(session, values)
        u = ROUNDOFF.get(_float_type(graph), ROUNDOFF["float32"])
        smallest = max(min((a.size for a in exact.values()), default=1), 1)
        runs = min(max(2, -(-samples // smallest)), _MOST_RUNS)
        noisy = [run_reference(session, values, u, seed, rough, long_sums) for seed in range(runs)]
    except ArtifactError:
        raise
    except Exception as error:  # whatever an operator of the evaluator raises
        raise ArtifactError(f"the reference evaluator cannot run the graph: {type(error).__name__}: {error}") from error
    return {n: _meaning(exact[n], [run[n] for run in noisy]) for n in graph.outputs}


def lighten(graph: Graph) -> Graph:
    """The graph with large constants as parameters: not copied with every message that native code is given."""
    stored = graph.model.graph.initializers.values()
    return promote(graph, [str(v.name) for v in stored if v.const_value is not None and v.const_value.size > _LARGE])


def _float_type(graph: Graph) -> str:
    found = [graph.specs[n].dtype for n in (*graph.outputs, *graph.inputs) if graph.specs[n].dtype in ROUNDOFF]
    return found[0] if found else "float32"


def reference_session(proto: onnx.ModelProto) -> ReferenceEvaluator:
    """The reference evaluator for a model, with inner types where its operators need them."""
    return ReferenceEvaluator(onnx.shape_inference.infer_shapes(proto), new_ops=replaced())


def run_reference(
    session: ReferenceEvaluator,
    feeds: Mapping[str, np.ndarray],
    u: float = 0.0,
    seed: int = 0,
    rough: Collection[str] = (),
    long_sums: bool = False,
) -> dict[str, np.ndarray]:
    """Every output by name; with u, inputs and outputs of every operator are perturbed by that relative amount.

    For rough and long_sums see `meaning`.
    """
    generator = random.generator(seed, "floor")

    def shake(value: Any, op_type: str = "", terms: int = 1) -> Any:
        if not u or not isinstance(value, np.ndarray | np.floating) or value.dtype.kind != "f":
            return value
        size = u * max(1.0, math.sqrt(terms / 3)) if long_sums else u
        shaken = np.asarray(generator.uniform(-size, size, np.shape(value)))
        shaken += 1
        shaken *= value
        if op_type in rough:
            shaken += generator.uniform(-u, u, np.shape(value))
        return shaken.astype(value.dtype, copy=False)[()]

    return {n: np.asarray(a) for n, a in zip(session.output_names, _run(session, feeds, shake), strict=True)}


def _run(session: ReferenceEvaluator, known: Mapping[str, Any], shake: Callable[..., Any]) -> list[Any]:
    results: dict[str, Any] = {"": None, **session.rt_inits_, **known}
    for node, done in zip(session.rt_nodes_, _last_uses(session), strict=True):
        if node.op_type == "If":  # its branches are evaluated here, so that what they compute is perturbed as well
            branch = node.then_branch if np.all(results[node.input[0]]) else node.else_branch
            outputs: Iterable[Any] = _run(branch, results, shake)
        else:
            exact = _SIZES.get(node.op_type, ())
            arguments = [results[n] if i in exact else shake(results[n]) for i, n in enumerate(node.input)]
            if node.op_type == "Pow" and _is_whole(results[node.input[1]]):
                arguments[1] = results[node.input[1]]  # (-3)^2 is 9; (-3)^2.0000001 is no number
            outputs = node.run(*arguments, **({"context": results} if node.need_context() else {}))
        for name, value in zip(node.output, outputs, strict=False):
            terms = _terms(node, results, value)
            results[name] = value if node.op_type == "Constant" else shake(value, node.op_type, terms)
        for name in done:
            results.pop(name, None)
    return [results[n] for n in session.output_names]


def _terms(node: Any, results: Mapping[str, Any], value: Any) -> int:
    """How many products an element of the result of a convolution or a matrix product adds up."""
    if node.op_type == "Conv":
        return int(np.prod(results[node.input[1]].shape[1:]))
    if node.op_type == "Gemm":
        return int(results[node.input[0]].size // max(len(value), 1))
    return int(np.shape(results[node.input[0]])[-1]) if node.op_type == "MatMul" else 1


def _last_uses(session: ReferenceEvaluator) -> list[list[str]]:
    """For each node the inner values that nobody needs after it, so that a deep network does not keep them all."""
    nodes = session.rt_nodes_
    if any(node.need_context() for node in nodes):  # a branch or a body may use anything
        return [[] for _ in nodes]
    kept = {"", *session.output_names}
    last = {name: k for k, node in enumerate(nodes) for name in (*node.output, *node.input) if name not in kept}
    return [[n for n in dict.fromkeys((*node.input, *node.output)) if last.get(n) == k] for k, node in enumerate(nodes)]


def _is_whole(value: Any) -> bool:
    return bool(np.all(np.isfinite(value)) and np.array_equal(value, np.round(value)))


def _meaning(exact: np.ndarray, noisy: list[np.ndarray]) -> Meaning:
    if exact.dtype.kind != "f":
        decided = np.all([run == exact for run in noisy], axis=0) if noisy else np.ones(exact.shape, bool)
        return Meaning(exact, 0.0, np.asarray(decided), 0.0)
    wide = exact.astype(np.float64)
    ok = np.isfinite(wide)
    with np.errstate(invalid="ignore"):
        distances = [(run.astype(np.float64) - wide)[ok] for run in noisy]
    sigma = float(np.sqrt(np.mean(np.square(distances)))) if ok.any() and noisy else 0.0
    scale = float(np.sqrt(np.mean(np.square(wide[ok])))) if ok.any() else 0.0
    return Meaning(wide, sigma, ok, scale)
