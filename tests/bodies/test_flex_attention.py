"""FlexAttention with modifiers that read values around them, against NumPy in float64, with derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from polymodel import compile, load_onnx
from polymodel.errors import ArtifactError

SHAPES = {"q": (2, 4, 3, 5), "k": (2, 2, 6, 5), "v": (2, 2, 6, 7), "bias": (6,), "gain": (3, 1)}
_TYPES = {"float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT}


def modifier(op_type: str, other: str, kind: int) -> Any:
    """x -> op(x, value of the graph outside)."""
    values = [helper.make_tensor_value_info(n, kind, [None] * 4) for n in ("x", "out")]
    return helper.make_graph([helper.make_node(op_type, ["x", other], ["out"])], "mod", values[:1], values[1:])


def model(dtype: str, mods: bool, dims: bool = False, **attributes: Any) -> Any:
    kind, wide = _TYPES[dtype], TensorProto.FLOAT if dtype == "float16" else _TYPES[dtype]
    if mods:
        attributes |= {"score_mod": modifier("Add", "twice", wide), "prob_mod": modifier("Mul", "gain", wide)}
    nodes = [
        helper.make_node("Add", ["bias", "bias"], ["twice"]),  # made in the graph, read by a modifier only
        helper.make_node("FlexAttention", ["q", "k", "v"], ["y"], domain="ai.onnx.preview", **attributes),
    ]
    names = ["q", "k", "v", *(("bias", "gain") if mods else ())]
    kinds = {"bias": wide, "gain": wide}
    shapes: dict[str, list[Any]] = {n: list(SHAPES[n]) for n in names}
    if dims:
        for name in "qkv":
            shapes[name][0], shapes[name][2] = "n", "rows" if name == "q" else "columns"
    values = [helper.make_tensor_value_info(n, kinds.get(n, kind), shapes[n]) for n in names]
    out = helper.make_tensor_value_info("y", kind, [None] * 4)
    graph = helper.make_graph(nodes[0 if mods else 1 :], "g", values, [out])
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("ai.onnx.preview", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def reference(f: dict[str, np.ndarray], scale: float = 1 / np.sqrt(5)) -> np.ndarray:
    q, k, v = f["q"], np.repeat(f["k"], 2, 1), np.repeat(f["v"], 2, 1)
    scores = np.einsum("bhid,bhjd->bhij", q, k) * scale + 2 * f.get("bias", np.zeros(6))
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    weights = powers / powers.sum(-1, keepdims=True) * f.get("gain", np.ones((3, 1)))
    y: np.ndarray = weights @ v
    return y


def feeds_of(names: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(SHAPES[n]) for n in names}


def slope(f: Callable[[dict[str, np.ndarray]], float], feeds: dict[str, np.ndarray], name: str, at: int) -> float:
    ends = []
    for step in (1e-6, -1e-6):
        moved = feeds[name].copy()
        moved.reshape(-1)[at] += step
        ends.append(f({**feeds, name: moved}))
    return (ends[0] - ends[1]) / 2e-6


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
@pytest.mark.parametrize("dims", [False, True])
@pytest.mark.parametrize("mods", [False, True])
def test_values_and_derivatives(backend: str, mods: bool, dims: bool) -> None:
    program = compile(load_onnx(model("float64", mods, dims), trainable="none"), backend)
    feeds = feeds_of(program.graph.inputs)
    np.testing.assert_allclose(program.predict(feeds)["y"], reference(feeds), rtol=1e-7, atol=1e-8)
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((2, 4, 3, 7))
    found = program.gradients(feeds, {"y": weights}, list(feeds))
    for name, array in feeds.items():
        for at in rng.choice(array.size, 3, replace=False):
            want = slope(lambda f: float((reference(f) * weights).sum()), feeds, name, int(at))
            np.testing.assert_allclose(found[name].reshape(-1)[at], want, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_narrow_types_are_modified_in_float32(backend: str) -> None:
    program = compile(load_onnx(model("float16", True, scale=0.5), trainable="none"), backend)
    wide = feeds_of(program.graph.inputs)
    feeds = {n: a.astype(np.float16 if n in "qkv" else np.float32) for n, a in wide.items()}
    y = program.predict(feeds)["y"]
    assert y.dtype == np.float16
    exact = reference({n: a.astype(np.float64) for n, a in feeds.items()}, 0.5)
    np.testing.assert_allclose(y, exact, rtol=5e-3, atol=5e-3)


def test_a_modifier_keeps_the_type() -> None:
    proto = model("float64", True)
    cast = helper.make_node("Cast", ["x"], ["out"], to=TensorProto.FLOAT)
    attribute = next(a for a in proto.graph.node[1].attribute if a.name == "prob_mod")
    attribute.g.node[0].CopyFrom(cast)
    attribute.g.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    with pytest.raises(ArtifactError, match="FlexAttention"):
        load_onnx(proto, trainable="none")
