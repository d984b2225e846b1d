"""graph.py: values are replaced, structure is hashed, nothing is changed in place."""

from __future__ import annotations

import numpy as np
import pytest

from polymodel.builder import Builder
from polymodel.errors import DtypeError, GraphError, ShapeError
from polymodel.graph import Graph, known_names
from polymodel.spec import TensorSpec, bind_dims


def make(name: str = "w", factor: float = 2.0) -> Graph:
    b = Builder()
    with b.active():
        x = b.input("x", TensorSpec(("n", 2)))
        b.output("y", x * b.parameter(name, np.ones(2, np.float32)) * factor + b.buffer("s", np.zeros(2, np.float32)))
    return b.finish()


def test_specs_of_all_inputs_and_outputs() -> None:
    assert make().specs == {
        "x": TensorSpec(("n", 2)),
        "w": TensorSpec((2,)),
        "s": TensorSpec((2,)),
        "y": TensorSpec(("n", 2)),
    }


def test_with_values_makes_another_graph() -> None:
    graph = make()
    other = graph.with_values({"w": np.full(2, 5, np.float32)})
    assert other.parameters["w"][0] == 5
    assert graph.parameters["w"][0] == 1
    assert other.hash == graph.hash


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"v": np.ones(2, np.float32)}, "'v' is neither a parameter nor a buffer; there are w, s"),
        ({"w": np.ones(3, np.float32)}, r"'w' is float32\[2\], received float32\[3\]"),
        ({"s": np.ones(2)}, r"'s' is float32\[2\], received float64\[2\]"),
    ],
)
def test_with_values_refuses_what_does_not_fit(values: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(GraphError, match=words):
        make().with_values(values)


def test_the_hash_is_of_the_structure() -> None:
    assert make().hash == make().hash
    assert make("v").hash != make().hash
    assert make(factor=3.0).hash != make().hash


def test_a_copy_can_be_changed() -> None:
    graph = make()
    clone = graph.copy()
    next(iter(clone.model.graph)).op_type = "Add"
    assert next(iter(graph.model.graph)).op_type == "Mul"


def test_known_names_are_cut() -> None:
    assert known_names(make()) == "w, s"
    assert known_names(make(), limit=1) == "w, ... (2 in all)"


def test_specs_refuse_impossible_sizes_and_types() -> None:
    with pytest.raises(ShapeError, match="at least 0; received -1"):
        TensorSpec((-1, 3))
    with pytest.raises(ShapeError, match=r"received 1\.5"):
        TensorSpec((1.5,))  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="unknown dtype 'float'; expected one of float32"):
        TensorSpec((1,), "float")


def test_bind_dims() -> None:
    specs = {"x": TensorSpec(("n", 3)), "y": TensorSpec(("n", None))}
    assert bind_dims(specs, {"x": (5, 3), "y": (5, 7)}) == {"n": 5}
    with pytest.raises(ShapeError, match=r"input 'y': .* axis 0 is 4 \('n' is 5 elsewhere\)"):
        bind_dims(specs, {"x": (5, 3), "y": (4, 7)})
    with pytest.raises(ShapeError, match="input 'x': expected 2 axes"):
        bind_dims(specs, {"x": (5,), "y": (5, 7)})
    with pytest.raises(ShapeError, match=r"input 'x': expected float32\[n, 3\], received shape \(5, 4\): axis 1 is 4"):
        bind_dims(specs, {"x": (5, 4), "y": (5, 7)})
