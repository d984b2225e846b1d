"""What is computed ahead, by the reference operators of the onnx package, is what the oracle computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from polymodel.artifact.load import load_onnx
from polymodel.passes.specialize import specialize
from polymodel_conformance.cases import all_feeds, plan_of
from polymodel_conformance.corpus.generated import FAMILIES
from polymodel_conformance.corpus.generated.row import Row, entry_of, takes
from polymodel_conformance.oracle import evaluate

ROUNDING = {"float64": 1e-13, "float32": 3e-6}


def folded(row: Row, dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outputs of a generated call that are computed ahead when all its inputs are constants, and the oracle's."""
    entry = entry_of(row, dtype)
    graph, feeds = entry.graph, entry.draw(0)
    proto: onnx.ModelProto = ir.to_proto(graph.model)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in feeds.items())
    kept = [i for i in proto.graph.input if i.name not in feeds]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    plan = specialize(constant := load_onnx(proto, trainable="none"), constant.outputs)
    known = {n: a for n, a in plan.constants.items() if n in plan.outputs}
    assert {n: a.dtype.name for n, a in known.items()} == {n: plan.specs[n].dtype for n in known}, row.name
    full = all_feeds(graph, feeds)
    exact = evaluate(plan_of(graph, graph.outputs, full), full, record=False).outputs(graph.outputs)
    return [(a, np.asarray(exact[n])) for n, a in known.items()]


@pytest.mark.parametrize("dtype", ROUNDING)
def test_constants_are_those_of_the_oracle(dtype: str) -> None:
    pairs = [(r.name, *pair) for family in FAMILIES for r in family.ROWS if takes(r, dtype) for pair in folded(r, dtype)]
    assert len(pairs) > 200
    wrong = {}
    for name, found, exact in pairs:
        assert found.shape == exact.shape, name
        finite = np.isfinite(exact.astype(np.float64))
        limit = ROUNDING[dtype] * np.abs(exact[finite].astype(np.float64)).max(initial=0.0)
        error = np.abs(found[finite].astype(np.float64) - exact[finite])
        if (error > limit).any() or not np.array_equal(found[~finite].astype(np.float64), exact[~finite], equal_nan=True):
            wrong[name] = float(error.max(initial=0.0))
    assert not wrong


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_no_constant_of_half_precision_is_refused(dtype: str) -> None:
    assert sum(len(folded(r, dtype)) for family in FAMILIES for r in family.ROWS if takes(r, dtype)) > 200
