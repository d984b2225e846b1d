"""Files that are broken, or meant to break something: a clear ArtifactError, soon, and nothing worse."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polymodel import models
from polymodel.artifact import native_checks
from polymodel.artifact.export import to_proto
from polymodel.artifact.load import load_onnx
from polymodel.errors import ArtifactError

FLOAT = TensorProto.FLOAT


def model_of(nodes: list[onnx.NodeProto], stored: list[TensorProto] | None = None, shape: Any = (2, 3), **more: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        stored or [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10, **more)


def node(op_type: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs, outputs, name=f"{op_type.lower()}_node", **attributes)


def relu() -> onnx.ModelProto:
    return model_of([node("Relu", ["x"], ["y"])])


def cyclic() -> onnx.ModelProto:
    return model_of([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])])


def unsorted() -> onnx.ModelProto:
    return model_of([node("Relu", ["a"], ["y"]), node("Relu", ["x"], ["a"])])


def missing() -> onnx.ModelProto:
    return model_of([node("MatMul", ["x", "weight"], ["y"])])


def twice() -> onnx.ModelProto:
    return model_of([node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["y"])])


def two_initializers() -> onnx.ModelProto:
    w = numpy_helper.from_array(np.zeros((3, 3), np.float32), "w")
    return model_of([node("MatMul", ["x", "w"], ["y"])], [w, w])


def unknown_operators() -> onnx.ModelProto:
    first = node("FusedThing", ["x"], ["a"], domain="com.example")
    model = model_of([first, node("Reluu", ["a"], ["b"]), node("Relu", ["b"], ["y"])])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def huge_tensor() -> onnx.ModelProto:
    return model_of([node("MatMul", ["x", "w"], ["y"])], [TensorProto(name="w", data_type=FLOAT, dims=[2**40, 2**40])])


def too_little_data() -> onnx.ModelProto:
    w = TensorProto(name="w", data_type=FLOAT, dims=[3, 1_000_000_000], raw_data=b"1234")
    return model_of([node("MatMul", ["x", "w"], ["y"])], [w])


def negative_size() -> onnx.ModelProto:
    w = TensorProto(name="w", data_type=FLOAT, dims=[-3, -1], raw_data=b"\0" * 12)
    return model_of([node("MatMul", ["x", "w"], ["y"])], [w])


def unknown_type() -> onnx.ModelProto:
    w = TensorProto(name="w", data_type=999, dims=[3, 1], raw_data=b"\0" * 12)
    return model_of([node("MatMul", ["x", "w"], ["y"])], [w])


def huge_input() -> onnx.ModelProto:
    return model_of([node("Relu", ["x"], ["y"])], shape=(2**62, 2**62))


def nested() -> onnx.ModelProto:
    value = helper.make_tensor_value_info("o", TensorProto.FLOAT, [])
    branch = helper.make_graph([node("Relu", ["x"], ["o"])], "inner", [], [value])
    for _ in range(20):
        inner = node("If", ["c"], ["o"], then_branch=branch, else_branch=helper.make_graph([], "e", [], []))
        branch = helper.make_graph([inner], "outer", [], [value])
    condition = numpy_helper.from_array(np.array(True), "c")
    return model_of([node("If", ["c"], ["y"], then_branch=branch, else_branch=helper.make_graph([], "e", [], []))], [condition])


def nested_a_thousand_times() -> onnx.ModelProto:
    model = model_of([node("Relu", ["x"], ["y"])])
    graph = model.graph
    for _ in range(1000):
        inner = graph.node[0]
        inner.op_type = "If"
        inner.input[0] = "x"
        attribute = inner.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        graph = attribute.g
        graph.node.append(node("Relu", ["x"], ["y"]))
    return model


def deep_type() -> onnx.ModelProto:
    model = relu()
    kind = model.graph.input[0].type
    for _ in range(1000):
        kind = kind.sequence_type.elem_type
    kind.tensor_type.elem_type = FLOAT
    return model


def chained_functions() -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("own", 1)]
    functions = []
    for i in range(1000):
        inner = ("Relu", "") if i == 999 else (f"F{i + 1}", "own")
        body = [helper.make_node(inner[0], ["a"], ["b"], domain=inner[1])]
        functions.append(helper.make_function("own", f"F{i}", ["a"], ["b"], body, opsets))
    model = model_of([node("F0", ["x"], ["y"], domain="own")], functions=functions)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def recursive_function() -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("own", 1)]
    body = [helper.make_node("Loop1", ["a"], ["b"], domain="own")]
    functions = [helper.make_function("own", "Loop1", ["a"], ["b"], body, opsets)]
    model = model_of([node("Loop1", ["x"], ["y"], domain="own")], functions=functions)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def exploding_functions() -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("own", 1)]
    functions = []
    for i in range(30):
        inner = ("Relu", "") if i == 29 else (f"F{i + 1}", "own")
        body = [helper.make_node(inner[0], [a], [b], domain=inner[1]) for a, b in (("a", "m"), ("m", "b"))]
        functions.append(helper.make_function("own", f"F{i}", ["a"], ["b"], body, opsets))
    model = model_of([node("F0", ["x"], ["y"], domain="own")], functions=functions)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def future_opset() -> onnx.ModelProto:
    model = relu()
    model.opset_import[0].version = 9999
    return model


def future_ir() -> onnx.ModelProto:
    model = relu()
    model.ir_version = 9999
    return model


def no_opset() -> onnx.ModelProto:
    model = relu()
    del model.opset_import[:]
    return model


def shapes_do_not_fit() -> onnx.ModelProto:
    w = numpy_helper.from_array(np.zeros((7, 3), np.float32), "w")
    return model_of([node("MatMul", ["x", "w"], ["y"])], [w])


def no_element_type() -> onnx.ModelProto:
    model = relu()
    model.graph.input[0].type.Clear()
    return model


def unmade_output() -> onnx.ModelProto:
    model = relu()
    model.graph.output[0].name = "z"
    return model


def memory_bomb() -> onnx.ModelProto:
    """A declared size for which shape inference would allocate sixteen gigabytes."""
    model = model_of([node("Slice", ["x", "starts", "starts", "axes"], ["y"])])
    for name, size in (("starts", 3), ("axes", 2**31 - 1)):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, [size]))
    return model


def deep_metadata() -> onnx.ModelProto:
    model = cyclic()
    helper.set_model_props(model, {"polymodel.roles": "[" * 1_000_000})
    return model


CASES: list[tuple[Callable[[], onnx.ModelProto], str]] = [
    (cyclic, r"is cyclic: Add 'add_node' reads 'b', which depends on its own result"),
    (unsorted, r"is not sorted: Relu 'relu_node' reads 'a' before"),
    (missing, r"MatMul 'matmul_node' reads 'weight'.*an initializer is missing"),
    (twice, r"two values named 'y'"),
    (two_initializers, r"two values named 'w'"),
    (unknown_operators, r"2 operator\(s\) .*ai.onnx::Reluu \(node 'reluu_node'\), com.example::FusedThing"),
    (huge_tensor, r"initializer 'w' declares 1.21e\+24 elements"),
    (too_little_data, r"'w' declares 12000000000 bytes but holds 4: the file is damaged"),
    (negative_size, r"'w' declares the negative size in \[-3, -1\]"),
    (unknown_type, r"'w' has the unknown element type 999"),
    (huge_input, r"value 'x' declares"),
    (nested, r"nested deeper than 16 levels"),
    (nested_a_thousand_times, r"nested deeper than 16 levels|nests its parts too deeply"),
    (deep_type, r"."),
    (chained_functions, r"functions call each other deeper than 64 levels"),
    (recursive_function, r"function 'Loop1' calls itself: Loop1 > Loop1"),
    (exploding_functions, r"more than 1000000 nodes when its functions are written out"),
    (future_opset, r"uses opset 9999; onnx .* knows 1 to"),
    (future_ir, r"IR version 9999; onnx .* reads 3 to"),
    (no_opset, r"does not say which version of the standard"),
    (shapes_do_not_fit, r"no sound ONNX model: .*[Ii]ncompatible"),
    (no_element_type, r"x"),
    (unmade_output, r"returns 'z', which nothing makes"),
    (deep_metadata, r"cyclic"),
    (onnx.ModelProto, r"holds no graph"),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=lambda c: getattr(c, "__name__", ""))
def test_a_clear_error_within_a_second(make: Callable[[], onnx.ModelProto], message: str) -> None:
    model = make()
    load_onnx(relu())  # the process of native_checks.py runs
    start = time.perf_counter()
    with pytest.raises(ArtifactError, match=message):
        load_onnx(model)
    assert time.perf_counter() - start < 1


def test_a_declared_size_is_not_allocated() -> None:
    """A list of 2^31 axes, which inference with propagation of sizes would make, takes sixteen gigabytes."""
    assert load_onnx(memory_bomb()).inputs == ("x", "starts", "axes")


def test_a_child_that_was_killed_is_replaced() -> None:
    load_onnx(relu())
    assert native_checks._current is not None
    native_checks._current.process.kill()
    native_checks._current.process.wait()
    assert load_onnx(relu()).inputs == ("x",)


@pytest.mark.parametrize("keep", [0, 1, 10, 1000, -1, -1000])
def test_truncated_files(keep: int) -> None:
    data = to_proto(models.reference("lenet").model.graph).SerializeToString()
    with pytest.raises(ArtifactError):
        load_onnx(data[:keep])


def test_other_files() -> None:
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        load_onnx(b"\x89PNG\r\n\x1a\n" + os.urandom(100))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        load_onnx(tmp_path / "absent.onnx")
    with pytest.raises(ArtifactError, match="is no file"):
        load_onnx(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ArtifactError, match="is no file"):
        load_onnx(tmp_path / "pipe.onnx")


# -- external data ----------------------------------------------------------------------------------------------------


def external(location: str, dims: tuple[int, ...] = (3, 1), **entries: str) -> onnx.ModelProto:
    w = TensorProto(name="w", data_type=FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        w.external_data.add(key=key, value=value)
    return model_of([node("MatMul", ["x", "w"], ["y"])], [w])


def stored(folder: Path, model: onnx.ModelProto) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def test_external_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"pad!" + np.arange(3, dtype=np.float32).tobytes())
    graph = load_onnx(stored(tmp_path, external("w.bin", offset="4", length="12")))
    np.testing.assert_array_equal(graph.parameters["w"], [[0], [1], [2]])


ESCAPES = ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "link.bin", "folder/secret.bin", "", "a\0b", "."]


@pytest.mark.parametrize("location", ESCAPES)
def test_external_data_outside_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 12)
    path = stored(tmp_path / "model", external(location))
    (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "model" / "folder").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match="'w' refers to"):
        load_onnx(path)


@pytest.mark.parametrize(
    ("entries", "dims", "message"),
    [
        ({"offset": "8"}, (3, 1), "which has only 12"),
        ({"offset": "-4"}, (3, 1), "which has only 12"),
        ({"length": "4"}, (3, 1), "declares 12 bytes but holds 4"),
        ({"length": "many"}, (3, 1), "are numbers"),
        ({}, (3, 1 << 30), "which has only 12"),
    ],
)
def test_external_ranges(entries: dict[str, str], dims: tuple[int, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 12)
    with pytest.raises(ArtifactError, match=message):
        load_onnx(stored(tmp_path, external("w.bin", dims, **entries)))


def test_external_data_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.bin")
    with pytest.raises(ArtifactError, match="not a plain file"):
        load_onnx(stored(tmp_path, external("w.bin")))


def test_external_data_of_bytes() -> None:
    with pytest.raises(ArtifactError, match="load the model by its path"):
        load_onnx(external("w.bin").SerializeToString())
