"""LSTM, GRU and RNN in full, against a loop over batch and time in float64 NumPy and differences of it.

The loop is the standard's equations; `clip` bounds what goes into the gates' activations, and not the cell that LSTM's
last activation squashes, as ONNX Runtime has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from polymodel import compile, load_onnx
from polymodel.backend import Backend, Program

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
OUTPUTS = {"LSTM": ("Y", "Y_h", "Y_c"), "GRU": ("Y", "Y_h"), "RNN": ("Y", "Y_h")}
ALPHA = {"Affine": 1.0, "LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "ScaledTanh": 1.0, "HardSigmoid": 0.2, "Elu": 1.0}
BETA = {"Affine": 0.0, "ScaledTanh": 1.0, "HardSigmoid": 0.5}
_T, _N, _IN = 2, 3, 2

Arrays = dict[str, np.ndarray]


def activation(name: str, a: float, b: float) -> Any:
    return {
        "Relu": lambda x: np.maximum(x, 0), "Tanh": np.tanh, "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "Affine": lambda x: a * x + b, "LeakyRelu": lambda x: np.where(x < 0, a * x, x),
        "ThresholdedRelu": lambda x: np.where(x >= a, x, 0), "ScaledTanh": lambda x: a * np.tanh(b * x),
        "HardSigmoid": lambda x: np.clip(a * x + b, 0, 1),
        "Elu": lambda x: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), "Softsign": lambda x: x / (1 + abs(x)),
        "Softplus": lambda x: np.logaddexp(x, 0),
    }[name]  # fmt: skip


def activations(op: str, attributes: dict[str, Any], directions: int) -> list[Any]:
    alphas, betas = list(attributes.get("activation_alpha", [])), list(attributes.get("activation_beta", []))
    found = []
    for given in attributes.get("activations", USUAL[op] * directions):
        name = next(n for n in [*ALPHA, "Relu", "Tanh", "Sigmoid", "Softsign", "Softplus"] if n.lower() == given.lower())
        a = (alphas.pop(0) if alphas else ALPHA[name]) if name in ALPHA else 0.0
        b = (betas.pop(0) if betas else BETA[name]) if name in BETA else 0.0
        found.append(activation(name, float(np.float32(a)), float(np.float32(b))))
    return found


def reference(op: str, attributes: dict[str, Any], f: Arrays) -> Arrays:
    x, w, r = f["X"], f["W"], f["R"]
    turned = bool(attributes.get("layout"))
    x = x.transpose(1, 0, 2) if turned else x
    (time, batch, _), directions, size, rows = x.shape, len(w), r.shape[2], w.shape[1]
    bias, p = f.get("B", np.zeros((directions, 2 * rows))), f.get("P", np.zeros((directions, 3 * size)))
    zeros = np.zeros((directions, batch, size))
    starts = [f[n].transpose(1, 0, 2) if turned and n in f else f.get(n, zeros) for n in ("initial_h", "initial_c")]
    lengths = f.get("sequence_lens", np.full(batch, time))
    functions, per = activations(op, attributes, directions), len(USUAL[op])
    limit = float(np.float32(attributes.get("clip", np.inf)))
    y, ends = np.zeros((time, directions, batch, size)), [s.copy() for s in starts]
    for d in range(directions):
        own = functions[d * per : (d + 1) * per]
        gates = [lambda v, act=act: act(np.clip(v, -limit, limit)) for act in own]
        for n in range(batch):
            h, c = starts[0][d, n], starts[1][d, n]
            steps = range(int(lengths[n]))
            for t in steps[::-1] if d or attributes.get("direction") == "reverse" else steps:
                fed, back = w[d] @ x[t, n] + bias[d, :rows], bias[d, rows:]
                if op == "RNN":
                    h = gates[0](fed + r[d] @ h + back)
                elif op == "LSTM":
                    i, o, forget, new = np.split(fed + r[d] @ h + back, 4)
                    pi, po, pf = np.split(p[d], 3)
                    i = gates[0](i + pi * c)
                    forget = 1 - i if attributes.get("input_forget") else gates[0](forget + pf * c)
                    c = forget * c + i * gates[1](new)
                    h = gates[0](o + po * c) * own[2](c)
                else:
                    z, reset = np.split(gates[0]((fed + r[d] @ h + back)[: 2 * size]), 2)
                    last, b = r[d][2 * size :], back[2 * size :]
                    after = attributes.get("linear_before_reset")
                    own_part = reset * (last @ h + b) if after else last @ (reset * h) + b
                    h = (1 - z) * gates[1](fed[2 * size :] + own_part) + z * h
                y[t, d, n] = h
            ends[0][d, n], ends[1][d, n] = h, c
    if turned:
        y, ends = y.transpose(2, 0, 1, 3), [e.transpose(1, 0, 2) for e in ends]
    return dict(zip(OUTPUTS[op], (y, *ends), strict=False))


def feeds_of(op: str, attributes: dict[str, Any], optional: str, sizes: tuple[int, ...]) -> Arrays:
    """`optional` has a letter for each optional input that is given: b, l, h, c, p."""
    time, batch, width, size = sizes
    rng = np.random.default_rng(len(optional) + size)
    directions, rows = 2 if attributes.get("direction") == "bidirectional" else 1, GATES[op] * size
    state = (batch, directions, size) if attributes.get("layout") else (directions, batch, size)
    shapes = {
        "X": (batch, time, width) if attributes.get("layout") else (time, batch, width),
        "W": (directions, rows, width), "R": (directions, rows, size), "B": (directions, 2 * rows),
        "sequence_lens": (batch,), "initial_h": state, "initial_c": state, "P": (directions, 3 * size),
    }  # fmt: skip
    letters = {"B": "b", "sequence_lens": "l", "initial_h": "h", "initial_c": "c", "P": "p"}
    names = [n for n in shapes if n not in letters or letters[n] in optional]
    found = {n: rng.standard_normal(shapes[n]) * 0.6 for n in names if n != "sequence_lens"}
    if "l" in optional:
        found["sequence_lens"] = np.array([time, time // 2, 0][:batch], np.int32)
    return {n: found[n] for n in names}


def program_of(op: str, attributes: dict[str, Any], feeds: Arrays, backend: Backend, outputs: str, dims: bool) -> Program:
    """`outputs` has a letter for each wanted output: y, h, c; with `dims`, time and batch are left open."""
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h", *(["initial_c", "P"] if op == "LSTM" else [])]
    wanted = [n if n[-1].lower() in outputs else "" for n in OUTPUTS[op]]
    size = feeds["R"].shape[2]
    node = helper.make_node(op, [n if n in feeds else "" for n in names], wanted, hidden_size=size, **attributes)
    kinds = {"float64": TensorProto.DOUBLE, "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
    kind = kinds[feeds["X"].dtype.name]
    turned = bool(attributes.get("layout"))

    def shape(name: str) -> list[Any]:
        known: list[Any] = list(feeds[name].shape)
        if dims and name == "X":
            known[:2] = ["n", "t"] if turned else ["t", "n"]
        elif dims and name in ("sequence_lens", "initial_h", "initial_c"):
            known[1 if name[0] == "i" and not turned else 0] = "n"
        return known

    values = [
        helper.make_tensor_value_info(n, TensorProto.INT32 if n == "sequence_lens" else kind, shape(n)) for n in feeds
    ]
    ends = [helper.make_tensor_value_info(n, kind, [None] * (4 if n == "Y" else 3)) for n in wanted if n]
    graph = helper.make_graph([node], "g", values, ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    return compile(load_onnx(model, trainable="none"), backend.name)


CASES: dict[str, tuple[str, dict[str, Any], str, str, bool]] = {
    "lstm plain": ("LSTM", {}, "", "yhc", False),
    "lstm states": ("LSTM", {"direction": "reverse", "layout": 1}, "bhc", "yhc", True),
    "lstm lengths": ("LSTM", {"direction": "bidirectional"}, "blhc", "yhc", True),
    "lstm lengths in reverse": ("LSTM", {"direction": "reverse"}, "blc", "yhc", False),
    "lstm peepholes": ("LSTM", {"direction": "bidirectional", "clip": 0.4}, "bhcp", "yhc", False),
    "lstm coupled": ("LSTM", {"input_forget": 1, "layout": 1, "clip": 0.3}, "blcp", "yc", False),
    "lstm activations": ("LSTM", {
        "activations": ["hardsigmoid", "ScaledTanh", "Softsign", "HardSigmoid", "Affine", "Elu"],
        "activation_alpha": [0.3, 0.8, 0.25, 0.9, 0.7], "activation_beta": [0.4, 0.6, 0.45, 0.1],
        "direction": "bidirectional"}, "bh", "hc", False),
    "gru plain": ("GRU", {"linear_before_reset": 1}, "b", "yh", False),
    "gru before": ("GRU", {"direction": "bidirectional", "layout": 1}, "bh", "yh", True),
    "gru lengths": ("GRU", {"linear_before_reset": 1, "direction": "bidirectional", "layout": 1}, "blh", "yh", False),
    "gru lengths before": ("GRU", {"direction": "reverse", "clip": 0.5}, "bl", "h", False),
    "gru activations": ("GRU", {"activations": ["Sigmoid", "LeakyRelu"], "linear_before_reset": 1}, "", "y", False),
    "rnn plain": ("RNN", {"direction": "bidirectional"}, "bh", "yh", True),
    "rnn rectified": ("RNN", {"activations": ["Relu"], "layout": 1}, "b", "yh", False),
    "rnn lengths": ("RNN", {"direction": "reverse", "activations": ["Tanh"]}, "blh", "yh", False),
    "rnn activations": ("RNN", {"direction": "bidirectional", "activations": ["Softplus", "ThresholdedRelu"],
                                "activation_alpha": [0.2], "clip": 0.6}, "blh", "yh", False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(backend: Backend, case: str) -> None:
    op, attributes, optional, outputs, dims = CASES[case]
    feeds = feeds_of(op, attributes, optional, (_T, _N, _IN, 3))
    program = program_of(op, attributes, feeds, backend, outputs, dims)
    want, found = reference(op, attributes, feeds), program.predict(feeds)
    for name in found:
        # 1e-7: MXNet computes the rectified RNN in float32
        np.testing.assert_allclose(found[name], want[name], rtol=1e-7, atol=1e-9, err_msg=name)
    rng = np.random.default_rng(1)
    weights = {n: rng.standard_normal(a.shape) for n, a in found.items()}
    slopes = program.gradients(feeds, weights, [n for n in feeds if n != "sequence_lens"])
    for name, slope in slopes.items():
        for at in rng.choice(slope.size, 2, replace=False):
            ends = []
            for step in (1e-6, -1e-6):
                moved = feeds[name].copy()
                moved.reshape(-1)[at] += step
                results = reference(op, attributes, {**feeds, name: moved})
                ends.append(sum(float((w * results[n]).sum()) for n, w in weights.items()))
            np.testing.assert_allclose(slope.reshape(-1)[at], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sizes", [(2, 0, 2, 3), (0, 2, 2, 3), (1, 1, 0, 1)])
@pytest.mark.parametrize(("op", "optional"), [("LSTM", "b"), ("LSTM", "blhc"), ("GRU", "b")])
def test_sizes_of_zero_and_one(backend: Backend, op: str, optional: str, sizes: tuple[int, ...]) -> None:
    attributes = {"linear_before_reset": 1} if op == "GRU" else {}
    feeds = feeds_of(op, attributes, optional, sizes)
    program = program_of(op, attributes, feeds, backend, "yhc", dims=False)
    want, found = reference(op, attributes, feeds), program.predict(feeds)
    for name in found:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-9, atol=1e-12, err_msg=name)
    slopes = program.gradients(feeds, {n: np.ones_like(a) for n, a in found.items()}, ["X", "W", "R", "B"])
    assert all(s.shape == feeds[n].shape and np.isfinite(s).all() for n, s in slopes.items())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("case", ["lstm lengths", "gru before"])
def test_narrow_types(backend: Backend, case: str, dtype: str) -> None:
    op, attributes, optional, outputs, dims = CASES[case]
    feeds = {n: a.astype(dtype) if a.dtype == np.float64 else a
             for n, a in feeds_of(op, attributes, optional, (_T, _N, _IN, 5)).items()}  # fmt: skip
    found = program_of(op, attributes, feeds, backend, outputs, dims).predict(feeds)
    want = reference(op, attributes, {n: a.astype(np.float64) if n != "sequence_lens" else a for n, a in feeds.items()})
    for name, value in found.items():
        assert value.dtype.name == dtype
        tolerance = {"float32": 2e-6, "float16": 4e-3}[dtype]
        np.testing.assert_allclose(value, want[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", ["Elu", "Softplus", "Softsign", "ThresholdedRelu", "LeakyRelu"])
def test_derivatives_far_from_zero(backend: Backend, name: str) -> None:
    """In float32 exp(x) is infinite from 89 on; the derivative of a branch that was not taken must not be asked."""
    weights = {"W": np.ones((1, 1, 1), np.float32), "R": np.zeros((1, 1, 1), np.float32)}
    feeds = {"X": np.array([[[200.0]], [[-200.0]]], np.float32), **weights}
    node = helper.make_node("RNN", ["X", "W", "R"], ["Y"], hidden_size=1, activations=[name])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in feeds.items()]
    graph = helper.make_graph([node], "g", values, [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [2, 1, 1, 1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    program = compile(load_onnx(model, trainable="none"), backend.name)
    slopes = program.gradients(feeds, {"Y": np.ones((2, 1, 1, 1), np.float32)}, ["X"])["X"].ravel()
    low = {"LeakyRelu": 0.01, "Softsign": 201.0**-2}.get(name, 0.0)
    np.testing.assert_allclose(slopes, [201.0**-2 if name == "Softsign" else 1.0, low], rtol=1e-5, atol=1e-30)
