"""Optimizers as operators: against the standard's formulas in float64, from files that import their operator set only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from polymodel import compile, load_onnx
from polymodel.errors import ArtifactError

DOMAIN = "ai.onnx.preview.training"
KINDS = {"Adagrad": 3, "Adam": 4, "Momentum": 3}


def model(op_type: str, shapes: list[tuple[int, ...]], imports: tuple[str, ...] = (DOMAIN,), **attributes: Any) -> Any:
    """All tensors float64, so that what is compared is the formula and not its rounding."""
    kinds = KINDS[op_type]
    names = [f"{kind}{i}" for kind in range(kinds) for i in range(len(shapes))]
    outs = [f"new_{kind}{i}" for kind in range(kinds - 1) for i in range(len(shapes))]
    node = helper.make_node(op_type, ["R", "T", *names], outs, domain=DOMAIN, **attributes)
    values = [helper.make_tensor_value_info("R", 11, []), helper.make_tensor_value_info("T", 7, [])]
    values += [helper.make_tensor_value_info(n, 11, s) for n, s in zip(names, shapes * kinds, strict=True)]
    results = [helper.make_tensor_value_info(n, 11, s) for n, s in zip(outs, shapes * (kinds - 1), strict=True)]
    graph = helper.make_graph([node], "step", values, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(d, 1) for d in imports], ir_version=10)


def adagrad(r: float, t: int, x: Any, g: Any, h: Any, a: dict[str, float]) -> tuple[Any, ...]:
    g = a["norm_coefficient"] * x + g
    h = h + g * g
    return x - r / (1 + t * a["decay_factor"]) * g / (np.sqrt(h) + a["epsilon"]), h


def adam(r: float, t: int, x: Any, g: Any, v: Any, h: Any, a: dict[str, float]) -> tuple[Any, ...]:
    g = a["norm_coefficient"] * x + g
    v = a["alpha"] * v + (1 - a["alpha"]) * g
    h = a["beta"] * h + (1 - a["beta"]) * g * g
    if t > 0:
        r = r * np.sqrt(1 - a["beta"] ** t) / (1 - a["alpha"] ** t)
    return (1 - a["norm_coefficient_post"]) * (x - r * v / (np.sqrt(h) + a["epsilon"])), v, h


def momentum(r: float, t: int, x: Any, g: Any, v: Any, a: dict[str, Any]) -> tuple[Any, ...]:
    g = a["norm_coefficient"] * x + g
    v = a["alpha"] * v + (a["beta"] if t > 0 else 1) * g
    return x - r * (g + a["alpha"] * v if a["mode"] == "nesterov" else v), v


CASES: dict[str, tuple[str, Callable[..., tuple[Any, ...]], dict[str, Any]]] = {
    "adagrad": ("Adagrad", adagrad, {"norm_coefficient": 0.01, "decay_factor": 0.1, "epsilon": 1e-3}),
    "adam": ("Adam", adam, {"norm_coefficient": 0.01, "norm_coefficient_post": 0.02, "alpha": 0.8, "beta": 0.9,
                            "epsilon": 1e-3}),
    "momentum": ("Momentum", momentum, {"norm_coefficient": 0.01, "alpha": 0.8, "beta": 0.7, "mode": "standard"}),
    "nesterov": ("Momentum", momentum, {"norm_coefficient": 0.01, "alpha": 0.8, "beta": 0.7, "mode": "nesterov"}),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("t", [0, 3])
def test_formulas(backend: str, case: str, t: int) -> None:
    op_type, formula, attributes = CASES[case]
    shapes: list[tuple[int, ...]] = [(3,), (2, 5)]
    program = compile(load_onnx(model(op_type, shapes, **attributes), trainable="none"), backend)
    rng = np.random.default_rng(t)
    names = [f"{kind}{i}" for kind in range(KINDS[op_type]) for i in range(len(shapes))]
    feeds = {n: rng.uniform(0.1, 1, shapes[int(n[1])]) for n in names}
    found = program.predict({"R": np.array(0.3), "T": np.array(t, np.int64), **feeds})
    exact = {k: v if isinstance(v, str) else float(np.float32(v)) for k, v in attributes.items()}
    for i in range(2):
        own = [feeds[f"{kind}{i}"] for kind in range(KINDS[op_type])]
        for kind, value in enumerate(formula(0.3, t, *own, exact)):
            np.testing.assert_allclose(found[f"new_{kind}{i}"], value, rtol=1e-12)


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_gradient_of_the_new_value_with_respect_to_the_rate(backend: str) -> None:
    """Learning-rate tuning differentiates a step."""
    op_type, formula, attributes = CASES["adam"]
    program = compile(load_onnx(model(op_type, [(3,)], **attributes), trainable="none"), backend)
    rng = np.random.default_rng(0)
    feeds = {f"{kind}0": rng.uniform(0.1, 1, 3) for kind in range(4)}
    feeds |= {"R": np.array(0.3), "T": np.array(2, np.int64)}
    weights = rng.standard_normal(3)
    found = program.gradients(feeds, {"new_00": weights}, ["R"])["R"]
    exact = {k: float(np.float32(v)) for k, v in attributes.items()}
    own = [feeds[f"{kind}0"] for kind in range(4)]
    ends = [weights @ formula(0.3 + e, 2, *own, exact)[0] for e in (1e-5, -1e-5)]
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-5, rtol=1e-8)


def test_a_file_with_operators_of_the_standard_has_to_import_it() -> None:
    proto = model("Momentum", [(3,)], norm_coefficient=0.0, alpha=0.5, beta=0.5, mode="standard")
    proto.graph.node.append(helper.make_node("Relu", ["new_00"], ["y"]))
    with pytest.raises(ArtifactError, match="which version of the standard"):
        load_onnx(proto)


def test_a_file_that_imports_nothing_is_refused() -> None:
    proto = model("Momentum", [(3,)], imports=(), norm_coefficient=0.0, alpha=0.5, beta=0.5, mode="standard")
    with pytest.raises(ArtifactError, match="which version of the standard"):
        load_onnx(proto)


def test_the_newest_standard_is_assumed() -> None:
    graph = load_onnx(model("Momentum", [(3,)], norm_coefficient=0.0, alpha=0.5, beta=0.5, mode="standard"))
    assert graph.opset == onnx.defs.onnx_opset_version()
