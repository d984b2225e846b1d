"""State in flat arrays: views share memory, tensors of any shape and type survive; matrices are held as products want them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from polymodel.backend import Backend, Training
from polymodel.builder import Builder
from polymodel.graph import Graph
from polymodel.optim import SGD, Adagrad, Adam, Optimizer
from polymodel.passes.specialize import specialize
from polymodel.spec import TensorSpec
from polymodel_mxnet import layout
from polymodel_mxnet.compat import mxnet
from polymodel_mxnet.dtypes import to_numpy
from polymodel_mxnet.layout import State, turned_weights
from polymodel_mxnet.lower import lower
from polymodel_mxnet.program import MXNetProgram


def _values() -> dict[str, np.ndarray]:
    return {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "number": np.array(7, np.float32),
        "nothing": np.empty((0, 3), np.float32),
        "wide": np.array([1.5, 2.5]),
        "count": np.array([2**62 + 1], np.int64),
    }


def test_round_trip_in_order() -> None:
    state = State(_values(), mxnet.cpu())
    assert list(state.read()) == list(_values())
    for name, array in state.read().items():
        assert array.dtype == _values()[name].dtype
        np.testing.assert_array_equal(array, _values()[name])


def test_large_tensors_lie_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_LARGE", 6)
    state = State(_values(), mxnet.cpu())
    assert [sorted(f.views) for f in state.flats] == [["matrix"], ["nothing", "number"], ["wide"], ["count"]]
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, _values()[name])


def test_views_share_memory_with_the_flat_array() -> None:
    state = State(_values(), mxnet.cpu())
    flat = state.flat_of("matrix").array
    flat[:] = 3
    np.testing.assert_array_equal(to_numpy(state["matrix"]), np.full((2, 3), 3))
    state.write({"number": np.array(5, np.float32)})
    assert (to_numpy(flat) == 5).sum() == 1


def test_tensors_start_at_multiples_of_64_bytes() -> None:
    flat = State(_values(), mxnet.cpu()).flat_of("matrix")
    assert all(offset * 4 % 64 == 0 for offset in flat.offsets.values())


def test_a_turned_matrix_is_read_and_written_in_the_standards_order() -> None:
    state = State(_values(), mxnet.cpu(), turned={"matrix", "missing"})
    assert state["matrix"].shape == (3, 2)
    np.testing.assert_array_equal(state.read()["matrix"], _values()["matrix"])
    np.testing.assert_array_equal(to_numpy(state["matrix"]), _values()["matrix"].T)
    state.write({"matrix": -_values()["matrix"]})
    np.testing.assert_array_equal(state.read()["matrix"], -_values()["matrix"])


def compiled(backend: Backend, graph: Graph, rule: Optimizer) -> MXNetProgram:
    program = backend.compile(graph, "cpu", training=Training(graph, "loss", rule))
    assert isinstance(program, MXNetProgram)
    return program


def network(**more: str) -> Graph:
    """Two products and a Gemm; each further output is an operator on the weight "a"."""
    rng = np.random.default_rng(0)
    b = Builder()
    with b.active():
        h = b.input("x", TensorSpec((2, 5, 3)))
        a = b.parameter("a", rng.standard_normal((3, 4)).astype(np.float32))
        h = b.op("Tanh", b.op("MatMul", h, a) + b.parameter("bias", np.ones(4, np.float32)))
        h = b.op("Flatten", h)
        h = b.op("Gemm", h, b.parameter("b", rng.standard_normal((20, 6)).astype(np.float32)))
        c = b.parameter("c", rng.standard_normal((2, 6)).astype(np.float32))
        b.output("y", b.op("Gemm", h, c, transB=1))
        b.output("loss", b.op("ReduceMean", h * h, keepdims=0))
        for name, operator in more.items():
            b.output(name, b.op(operator, a))
    return b.finish()


def test_weights_are_held_as_the_dense_kernel_takes_them() -> None:
    graph = network(size="Shape")
    turned = turned_weights(graph)
    assert turned == {"a", "b"}
    plan = specialize(graph, ("y", "size"), {})
    for held, expected in ((frozenset(), 2), (turned, 0)):
        nodes = json.loads(lower(plan, "predict", turned=held).symbol.tojson())["nodes"]
        assert sum(node["op"] == "transpose" for node in nodes) == expected
    assert turned_weights(network(other="Relu")) == {"b"}


@pytest.mark.parametrize("rule", [SGD(0.1, momentum=0.9), SGD(0.1, momentum=0.3), Adam(0.1), Adagrad(0.1)], ids=str)
def test_nobody_sees_how_a_weight_is_held(backend: Backend, rule: Optimizer) -> None:
    """The weight "a" is turned in one of the programs only."""
    x, found = {"x": np.random.default_rng(1).standard_normal((2, 5, 3)).astype(np.float32)}, []
    for graph in (network(), network(other="Relu")):
        program = compiled(backend, graph, rule)
        assert program.state_arrays()["a"].shape == ((4, 3) if graph.outputs == ("y", "loss") and rule.name != "adagrad" else (3, 4))
        first = program.gradients(x, {"loss": np.ones((), np.float32)})
        for step in (1, 2, 3):
            program.train_step(x, lr=0.1, step=step)
        program.parameters = {"b": program.parameters["b"] * 2}
        after = program.gradients(x, {"loss": np.ones((), np.float32)})
        found.append({**program.parameters, **program.slots, **program.predict(x, ["y"]), **{f"1/{n}": g for n, g in first.items()},
                      **{f"4/{n}": g for n, g in after.items()}})  # fmt: skip
    assert found[0].keys() == found[1].keys()
    for name, array in found[0].items():
        np.testing.assert_allclose(array, found[1][name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_programs_of_one_state_hold_it_alike(backend: Backend) -> None:
    """A weight is turned where all programs want it so."""
    graph = network()
    programs = [compiled(backend, graph, rule) for rule in (SGD(0.1), Adagrad(0.1))]
    programs[0].share(programs[1:])
    assert {p.state_arrays()["a"].shape for p in programs} == {(3, 4)}
    x = {"x": np.ones((2, 5, 3), np.float32)}
    programs[1].train_step(x, lr=0.1, step=1)
    assert not np.array_equal(programs[0].parameters["a"], graph.parameters["a"])
    np.testing.assert_array_equal(programs[0].predict(x, ["y"])["y"], programs[1].predict(x, ["y"])["y"])
