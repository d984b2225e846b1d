"""One operator call on one backend, judged by the standard's evaluator and by float64 differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, final

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from polymodel.backend import Backend, Program
from polymodel.builder import Builder
from polymodel.registry import get_backend
from polymodel.spec import Dim, TensorSpec

Arrays: TypeAlias = dict[str, np.ndarray]


@pytest.fixture(scope="session", params=["torch", "tensorflow", "mxnet"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every backend in turn."""
    return get_backend(request.param)


@final
class Case:
    """A call of one operator, compiled for one backend.

    Args:
        backend: where it runs.
        op_type: of the standard.
        inputs: arrays that are fed, by name, in the order of the operator's inputs; None where one is left out.
        fixed: names of inputs that are constants of the graph instead.
        dynamic: whether the first size of every input that is fed is unknown when compiling.
        outputs: how many outputs to take.
        attributes: of the operator.
    """

    def __init__(
        self, backend: Backend, op_type: str, inputs: Mapping[str, np.ndarray | None], *,
        fixed: Sequence[str] = (), dynamic: bool = False, outputs: int = 1, **attributes: Any,
    ) -> None:  # fmt: skip
        self.feeds: Arrays = {n: a for n, a in inputs.items() if a is not None and n not in fixed}
        self.inputs, self.op_type, self.attributes = inputs, op_type, attributes
        b = Builder()
        with b.active():
            values: list[Any] = []
            for name, array in inputs.items():
                if array is None or name in fixed:
                    values.append(array)
                    continue
                shape: tuple[Dim, ...] = array.shape
                if dynamic and array.ndim:
                    shape = (f"{name}_first", *array.shape[1:])
                values.append(b.input(name, TensorSpec(shape, array.dtype.name)))
            for i, y in enumerate(b.ops(op_type, *values, outputs=outputs, **attributes)):
                b.output(f"y{i}", y)
        self.program: Program = backend.compile(b.finish(), "cpu")

    def values(self, **changed: np.ndarray) -> list[np.ndarray]:
        """Outputs."""
        found = self.program.predict({**self.feeds, **changed})
        return list(found.values())

    def reference(self, opset: int = 22) -> list[np.ndarray]:
        """What the standard's evaluator computes."""
        names = [n if a is not None else "" for n, a in self.inputs.items()]
        outputs = [f"y{i}" for i in range(len(self.values()))]
        node = onnx.helper.make_node(self.op_type, names, outputs, **self.attributes)
        infos = [onnx.helper.make_empty_tensor_value_info(n) for n in names if n]
        graph = onnx.helper.make_graph([node], "g", infos, [onnx.helper.make_empty_tensor_value_info(n) for n in outputs])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
        results = ReferenceEvaluator(model).run(None, {n: a for n, a in self.inputs.items() if a is not None})
        assert isinstance(results, list)
        return [np.asarray(r) for r in results]

    def check_gradients(self, *wrt: str, step: float = 1e-6, tolerance: float = 1e-6) -> None:
        """Compare the derivative of the first output along random directions with central differences in float64."""
        rng = np.random.default_rng(7)
        cotangent = rng.standard_normal(self.values()[0].shape)
        found = self.program.gradients(self.feeds, {"y0": cotangent}, wrt)
        for name in wrt:
            x = self.feeds[name]
            assert (x.dtype, found[name].shape) == (np.float64, x.shape)
            scale = float(np.abs(found[name]).sum()) + 1e-9
            for _ in range(3):
                direction = rng.standard_normal(x.shape)
                above, below = (self.values(**{name: x + s * direction})[0] for s in (step, -step))
                want = float((cotangent * (above - below)).sum()) / (2 * step)
                got = float((found[name] * direction).sum())
                assert abs(got - want) <= tolerance * scale, f"derivative by {name}: {got}, by differences {want}"


@pytest.fixture
def case(backend: Backend) -> Callable[..., Case]:
    """case(op_type, inputs, **attributes): see Case."""

    def make(op_type: str, inputs: Mapping[str, np.ndarray | None], **more: Any) -> Case:
        return Case(backend, op_type, inputs, **more)

    return make
