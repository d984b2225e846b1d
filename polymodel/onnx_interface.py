"""A backend behind the interface of the onnx package, for its test suite and for programs written against it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, final

import numpy as np
import onnx
from onnx.backend import base

from polymodel.artifact.load import load_onnx
from polymodel.backend import Program
from polymodel.registry import compile, get_backend
from polymodel.spec import numpy_dtype


@final
class ProgramRep(base.BackendRep):
    """A compiled model.

    Attributes:
        program: the compiled program.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs in the order of the graph.

        Args:
            inputs: one value per input in the order of the graph, or values by name: arrays, numbers, TensorProtos,
                lists for sequences, None for an empty optional.
            kwargs: ignored; the interface passes some.
        """
        graph = self.program.graph
        named = inputs if isinstance(inputs, dict) else dict(zip(graph.inputs, inputs, strict=True))
        specs = graph.specs
        feeds = {n: _plain(v, specs[n].dtype if n in specs else "") for n, v in named.items()}
        found = self.program.predict(feeds)
        return tuple(found[n] for n in graph.outputs)


def _plain(value: Any, dtype: str) -> Any:
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    if isinstance(value, list | tuple) or value is None:
        return value
    array = np.asarray(value)
    if dtype and not isinstance(value, np.ndarray | np.generic):
        return array.astype(numpy_dtype(dtype))
    return array


@cache
def onnx_backend(name: str) -> type[base.Backend]:
    """A class with the interface `onnx.backend.base.Backend` that runs models on a backend.

    Args:
        name: of a registered backend; its framework is imported at the first call.

    Example:
        >>> import onnx, numpy as np
        >>> node = onnx.helper.make_node("Relu", ["x"], ["y"])
        >>> onnx_backend("torch").run_node(node, [np.array([-1.0, 2.0], np.float32)])[0]
        array([0., 2.], dtype=float32)
    """

    @final
    class OnnxBackend(base.Backend):
        """See onnx.backend.base.Backend."""

        @classmethod
        def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> ProgramRep:
            """Compile a model; no stored tensor is a parameter."""
            graph = load_onnx(model, trainable="none")
            return ProgramRep(compile(graph, name, _device(device)))

        @classmethod
        def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
            """Compile a model and run it once."""
            return cls.prepare(model, device).run(inputs)

        @classmethod
        def run_node(
            cls,
            node: onnx.NodeProto,
            inputs: Any,
            device: str = "CPU",
            outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
            **kwargs: Any,
        ) -> tuple[Any, ...]:
            """Run one operator call.

            Args:
                node: the call, of the newest opset unless `opset_version` is given.
                inputs: one value per input that the node names.
                device: "CPU" or "CUDA", with ":N" where there are several.
                outputs_info: not needed: types are inferred.
                kwargs: opset_version.
            """
            opset = kwargs.get("opset_version") or onnx.defs.onnx_opset_version()
            names = [n for n in node.input if n]
            arrays = [np.asarray(a) for a in (inputs.values() if isinstance(inputs, dict) else inputs)]
            infos = [
                onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for n, a in zip(names, arrays, strict=True)
            ]
            outs = [onnx.helper.make_empty_tensor_value_info(n) for n in node.output if n]
            graph = onnx.helper.make_graph([node], "node", infos, outs)
            imports = [onnx.helper.make_opsetid(node.domain, opset)]
            if node.domain:
                imports.append(onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version()))
            model = onnx.helper.make_model(graph, opset_imports=imports)
            return cls.run_model(onnx.shape_inference.infer_shapes(model), arrays, device)

        @classmethod
        def supports_device(cls, device: str) -> bool:
            """Whether this machine has the device."""
            wanted, there = _device(device), get_backend(name).devices()
            return wanted in there or (wanted == "cuda" and "cuda:0" in there)

    OnnxBackend.__name__ = f"OnnxBackend_{name}"
    return OnnxBackend


def _device(words: str) -> str:
    return words.lower()
