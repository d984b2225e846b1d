"""Models in the onnx package's text form, and what others say that they mean.

What a file means is said by ONNX Runtime, or by the reference evaluator of the onnx package where ONNX Runtime does not
take the opset.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from onnx import helper, parser
from onnx.reference import ReferenceEvaluator

from polymodel.artifact.load import load_onnx
from polymodel.backend import Backend

Arrays = Mapping[str, np.ndarray]
LACKING = {"Swish"}  # without kernel in ONNX Runtime 1.31


def model_of(text: str, opset: int, **imports: int) -> onnx.ModelProto:
    """A model in the onnx package's text form; IR version 3 for the oldest, else what belongs to the opset."""
    ir_version = 3 if opset < 9 else helper.VERSION_TABLE[-1][1]
    for row in helper.VERSION_TABLE:
        if row[2] >= opset:
            ir_version = max(3, row[1])
            break
    opsets = ", ".join(f'"{d}" : {v}' for d, v in {"": opset, **imports}.items())
    return parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{opsets}]> {text}")


def drawn(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """One array for each input that is no initializer; unknown sizes are 3."""
    rng, stored = np.random.default_rng(seed), {t.name for t in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name not in stored:
            tensor = value.type.tensor_type
            shape = [d.dim_value or 3 for d in tensor.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            array = np.asarray(rng.standard_normal(shape))
            feeds[value.name] = np.asarray(array > 0 if dtype.kind == "b" else array * (1 if dtype.kind == "f" else 4), dtype)
    return feeds


def meaning(model: onnx.ModelProto, feeds: Arrays) -> list[np.ndarray]:
    """What others compute: ONNX Runtime up to opset 26, where it has a kernel; else the reference evaluator.

    ONNX Runtime has few kernels of opset 6. The operators here mean in opset 7 what they meant in 6, except
    BatchNormalization, Dropout and Gemm, whose attributes changed.
    """
    opset = next(o.version for o in model.opset_import if o.domain == "")
    operators = {n.op_type for n in model.graph.node}
    if opset > 26 or operators & LACKING or (opset == 6 and operators & {"BatchNormalization", "Gemm"}):
        results = ReferenceEvaluator(model).run(None, dict(feeds))
        assert isinstance(results, list)
        return [np.asarray(r) for r in results]
    if opset == 6:
        model = onnx.ModelProto.FromString(model.SerializeToString())
        model.opset_import[0].version = 7
        model.ir_version = 4  # initializers need not be inputs
        for node in model.graph.node:
            kept = [a for a in node.attribute if (node.op_type, a.name) != ("Dropout", "is_test")]
            del node.attribute[:]
            node.attribute.extend(kept)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def check(backend: Backend, model: onnx.ModelProto, feeds: Arrays | None = None, want: list[np.ndarray] | None = None) -> None:
    """A backend computes what others compute."""
    given = drawn(model) if feeds is None else feeds
    expected = meaning(model, given) if want is None else want
    found = backend.compile(load_onnx(model), "cpu").predict(given)
    assert list(found) == [v.name for v in model.graph.output]
    for (name, got), wanted in zip(found.items(), expected, strict=True):
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), name
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6, err_msg=name)
