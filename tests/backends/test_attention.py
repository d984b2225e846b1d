"""Attention in full, against the reference evaluator in float64 and differences of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from polymodel import compile, load_onnx
from polymodel.backend import Backend

N, L, S, D, DV = 2, 3, 4, 2, 3
HEADS, GROUPS = 4, 2
PAST = 2

Arrays = dict[str, np.ndarray]
INPUTS = ("q", "k", "v", "mask", "past_k", "past_v", "lengths")
KINDS = {"float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16, "bool": TensorProto.BOOL, "int64": TensorProto.INT64}


def feeds_of(words: set[str]) -> Arrays:
    """Words: flat (3-D), past, lengths, and mask, bool, short (fewer columns than keys), masked (-inf in it)."""
    rng = np.random.default_rng(0)
    found: Arrays = {
        "q": rng.standard_normal((N, HEADS, L, D)),
        "k": rng.standard_normal((N, GROUPS, S, D)),
        "v": rng.standard_normal((N, GROUPS, S, DV)),
    }
    if "flat" in words:
        found = {n: a.transpose(0, 2, 1, 3).reshape(N, a.shape[2], -1) for n, a in found.items()}
    columns = S + (PAST if "past" in words else 0)
    if "mask" in words:
        mask = rng.standard_normal((HEADS, L, columns - ("short" in words)))
        mask[:, 1] = -np.inf if "masked" in words else mask[:, 1]  # a query that may see nothing
        found["mask"] = mask > 0 if "bool" in words else mask
    if "past" in words:
        found["past_k"] = rng.standard_normal((N, GROUPS, PAST, D))
        found["past_v"] = rng.standard_normal((N, GROUPS, PAST, DV))
    if "lengths" in words:
        found["lengths"] = np.array([S, 1])
    return {n: found[n] for n in INPUTS if n in found}


def model(attributes: dict[str, Any], feeds: Arrays, outputs: tuple[str, ...], dims: bool = False) -> onnx.ModelProto:
    flat = feeds["q"].ndim == 3
    more: dict[str, Any] = {"q_num_heads": HEADS, "kv_num_heads": GROUPS} if flat else {}
    wanted = [n if n in outputs else "" for n in ("y", "present_k", "present_v", "scores")]
    node = helper.make_node("Attention", [n if n in feeds else "" for n in INPUTS], wanted, **attributes, **more)

    def shape(name: str) -> list[Any]:
        known: list[Any] = list(feeds[name].shape)
        if dims and name in ("q", "k", "v"):
            known[0], known[1 if flat else 2] = "n", "rows" if name == "q" else "columns"
        return known

    values = [helper.make_tensor_value_info(n, KINDS[a.dtype.name], shape(n)) for n, a in feeds.items()]
    kind = KINDS[feeds["q"].dtype.name]
    ends = [helper.make_tensor_value_info(n, kind, [None] * (3 if flat and n == "y" else 4)) for n in outputs]
    graph = helper.make_graph([node], "g", values, ends)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11)


ALL = ("y", "present_k", "present_v", "scores")
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...], bool]] = {
    "plain": ("", {}, ("y",), False),
    "flat": ("flat", {"scale": 0.25, "is_causal": 1}, ALL, True),
    "past": ("past", {"is_causal": 1, "qk_matmul_output_mode": 3}, ALL, False),
    "mask": ("mask", {"softcap": 0.8, "qk_matmul_output_mode": 1}, ("y", "scores"), True),
    "mask with past": ("mask past short flat", {"qk_matmul_output_mode": 2, "left_window_size": 1}, ("y",), False),
    "nothing to see": ("mask masked", {"is_causal": 1, "softmax_precision": 11}, ALL, False),
    "bool": ("mask bool short", {"right_window_size": 1, "qk_matmul_output_mode": 3}, ("y", "scores"), False),
    "lengths": ("lengths flat mask", {"is_causal": 1, "left_window_size": 1}, ("y",), False),
    "scores before the cap": ("", {"softcap": 0.5, "qk_matmul_output_mode": 0}, ("y", "scores"), True),
}


def evaluate(attributes: dict[str, Any], feeds: Arrays, outputs: tuple[str, ...]) -> Arrays:
    """By the reference evaluator, except for one defect: its mode 0 shows scores after the cap."""
    run = ReferenceEvaluator(model(attributes, feeds, outputs)).run(None, feeds)
    assert isinstance(run, list)
    found = dict(zip(outputs, run, strict=True))
    if "scores" in outputs and attributes.get("softcap") and not attributes.get("qk_matmul_output_mode"):
        found["scores"] = evaluate({**attributes, "softcap": 0.0}, feeds, outputs)["scores"]
    return found


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(backend: Backend, case: str) -> None:
    words, attributes, outputs, dims = CASES[case]
    feeds = feeds_of(set(words.split()))
    program = compile(load_onnx(model(attributes, feeds, outputs, dims), trainable="none"), backend.name)
    want, found = evaluate(attributes, feeds, outputs), program.predict(feeds)
    for name in outputs:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-9, atol=1e-12, err_msg=name)
    rng = np.random.default_rng(1)
    weights = {n: rng.standard_normal(a.shape) for n, a in found.items() if np.isfinite(want[n]).all()}
    wrt = [n for n, a in feeds.items() if a.dtype == np.float64 and np.isfinite(a).all()]
    for name, slope in program.gradients(feeds, weights, wrt).items():
        for at in rng.choice(slope.size, 3, replace=False):
            ends = []
            for step in (1e-6, -1e-6):
                moved = feeds[name].copy()
                moved.reshape(-1)[at] += step
                results = evaluate(attributes, {**feeds, name: moved}, outputs)
                ends.append(sum(float((w * results[n]).sum()) for n, w in weights.items()))
            np.testing.assert_allclose(slope.reshape(-1)[at], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def test_float16_is_rounded_as_the_reference_rounds_it(backend: Backend) -> None:
    """Within one unit in the last place, most elements equal: products are summed in another order."""
    feeds = {n: a.astype(np.float16) for n, a in feeds_of(set()).items()}
    want = evaluate({"is_causal": 1}, feeds, ("y",))["y"]
    (found,) = compile(load_onnx(model({"is_causal": 1}, feeds, ("y",)), trainable="none"), backend.name).predict(feeds).values()
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, want, rtol=2e-3, atol=5e-4)
