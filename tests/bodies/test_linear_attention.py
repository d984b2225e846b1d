"""LinearAttention against the recurrence of the standard in float64, and its derivatives against differences of that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from polymodel import compile, load_onnx
from polymodel.errors import PolymodelError

N, T, READERS, HEADS, DK, DV = 2, 5, 4, 2, 3, 2
RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}


def reference(f: dict[str, Any], scale: float = 1 / np.sqrt(DK)) -> tuple[np.ndarray, np.ndarray]:
    def heads(x: np.ndarray, h: int) -> np.ndarray:
        return x.reshape(*x.shape[:2], h, -1).astype(np.float64)

    q, k, v = heads(f["q"], READERS), heads(f["k"], HEADS), heads(f["v"], HEADS)
    length = q.shape[1]
    state = f["past"].astype(np.float64) if "past" in f else np.zeros((N, HEADS, DK, DV))
    out = np.zeros((N, length, READERS, DV))
    for t in range(length):
        if "decay" in f:
            state = state * np.exp(heads(f["decay"], HEADS)[:, t])[..., None]
        new = v[:, t]
        if "beta" in f:
            new = f["beta"].astype(np.float64)[:, t, :, None] * (new - np.einsum("bhdm,bhd->bhm", state, k[:, t]))
        state = state + k[:, t, :, :, None] * new[:, :, None, :]
        out[:, t] = scale * np.einsum("bhd,bhdm->bhm", q[:, t], np.repeat(state, READERS // HEADS, 1))
    return out.reshape(N, length, -1), state


def case(rule: str, *, per_head: bool, past: bool, one_beta: bool, dims: bool, length: int = T, **more: Any) -> Any:
    """A graph and inputs for it; `dims` leaves batch and length open."""
    rng = np.random.default_rng(0)
    gated, delta = RULES[rule]
    widths = {"q": READERS * DK, "k": HEADS * DK, "v": HEADS * DV}
    feeds = {n: rng.standard_normal((N, length, w)).astype(np.float32) for n, w in widths.items()}
    if past:
        feeds["past"] = rng.standard_normal((N, HEADS, DK, DV)).astype(np.float32)
    if gated:
        feeds["decay"] = -rng.uniform(0.1, 1, (N, length, HEADS * (1 if per_head else DK))).astype(np.float32)
    if delta:
        feeds["beta"] = rng.uniform(0.1, 0.9, (N, length, 1 if one_beta else HEADS)).astype(np.float32)
    names = [n if n in feeds else "" for n in ("q", "k", "v", "past", "decay", "beta")]
    node = helper.make_node(
        "LinearAttention", names, ["y", "present"], q_num_heads=READERS, kv_num_heads=HEADS, update_rule=rule, **more
    )

    def shape(a: np.ndarray) -> list[Any]:
        return ["n", "t", a.shape[2]] if dims and a.ndim == 3 else ["n" if dims else N, *a.shape[1:]]

    values = [helper.make_tensor_value_info(n, 1, shape(a)) for n, a in feeds.items()]
    outs = [helper.make_tensor_value_info("y", 1, [None] * 3), helper.make_tensor_value_info("present", 1, [None] * 4)]
    graph = helper.make_graph([node], "g", values, outs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)], ir_version=10), feeds


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("variant", [0, 1])
def test_values_and_derivatives(backend: str, rule: str, variant: int) -> None:
    model, feeds = case(rule, per_head=variant == 0, past=variant == 0, one_beta=variant == 1, dims=variant == 1)
    program = compile(load_onnx(model, trainable="none"), backend)
    found = program.predict(feeds)
    for name, value in zip(("y", "present"), reference(feeds), strict=True):
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-6)
    rng = np.random.default_rng(1)
    weights = {n: rng.standard_normal(a.shape).astype(np.float32) for n, a in found.items()}
    slopes = program.gradients(feeds, weights, list(feeds))
    wide = {n: a.astype(np.float64) for n, a in feeds.items()}

    def total(values: dict[str, np.ndarray]) -> float:
        return sum(float((w * v).sum()) for w, v in zip(weights.values(), reference(values), strict=True))

    for name, array in wide.items():
        for at in rng.choice(array.size, 4, replace=False):
            ends = []
            for step in (1e-5, -1e-5):
                moved = array.copy()
                moved.reshape(-1)[at] += step
                ends.append(total({**wide, name: moved}))
            want = (ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(slopes[name].reshape(-1)[at], want, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_one_position_and_a_scale(backend: str) -> None:
    model, feeds = case("linear", per_head=True, past=True, one_beta=False, dims=False, length=1, scale=0.25)
    found = compile(load_onnx(model, trainable="none"), backend).predict(feeds)
    for name, value in zip(("y", "present"), reference(feeds, 0.25), strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def test_a_rule_without_its_input_is_refused() -> None:
    model, feeds = case("linear", per_head=True, past=False, one_beta=False, dims=False)
    model.graph.node[0].attribute[-1].s = b"delta"
    assert model.graph.node[0].attribute[-1].name == "update_rule"
    with pytest.raises(PolymodelError, match=r"delta.*(beta|needs)"):
        compile(load_onnx(model, trainable="none"), "torch").predict(feeds)
