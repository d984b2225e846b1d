"""The oracle's operators for the reference evaluator of the onnx package, in place of those that it has wrong.

What onnx 1.23.2 has wrong is measured by tests/conformance/oracle/test_for_reference.py: it forgets sequence lengths, clips
and activations of recurrent operators, groups of ConvTranspose on one axis, computes in float32 whatever it is given, ...
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from polymodel.inference import schema
from polymodel.passes.lower_call import attributes_of
from polymodel.plan import Node
from polymodel.spec import spec_of_array
from polymodel_conformance.oracle.evaluator import RULES
from polymodel_conformance.oracle.table import ORACLE
from polymodel_conformance.oracle.tape import Tape

REPLACED = (
    "AffineGrid",
    "Attention",
    "ConvTranspose",
    "DeformConv",
    "Erf",
    "GRU",
    "GatherElements",
    "Gelu",
    "GlobalLpPool",
    "GridSample",
    "GroupNormalization",
    "HardSwish",
    "LSTM",
    "LpNormalization",
    "LpPool",
    "MaxRoiPool",
    "Mean",
    "MeanVarianceNormalization",
    "Pad",
    "RNN",
    "ReduceLogSumExp",
    "Resize",
    "STFT",
    "Scatter",
    "Softsign",
)


def operators() -> list[type[OpRun]]:
    """For the `new_ops` of a reference evaluator."""
    assert RULES  # they are in the table
    return [type(op_type, (OpRun,), {"op_domain": "", "_run": _run}) for op_type in REPLACED]


def _run(self: Any, *inputs: Any, **_: Any) -> tuple[Any, ...]:
    given = self.onnx_node
    known = schema(given.op_type, given.domain, self.run_params["opsets"][given.domain])
    arrays = [None if a is None else np.asarray(a) for a in inputs]
    node = Node(
        op_type=given.op_type,
        domain=given.domain,
        version=known.since_version,
        name=given.name,
        attributes=attributes_of(given, known),
        input_names=tuple(given.input),
        output_names=tuple(given.output),
        inputs=tuple(None if a is None else spec_of_array(a) for a in arrays),
        outputs=(),
        constants={i: a for i, a in enumerate(arrays) if a is not None and a.dtype.kind in "iub"},
    )
    tape = Tape(record=False)
    with np.errstate(all="ignore"):
        found = ORACLE.find(node).function(node, *(None if a is None else tape.value(a) for a in arrays))
    results = found if isinstance(found, tuple) else (found,)
    dtype = next((a.dtype for a in arrays if a is not None and a.dtype.kind == "f"), None)
    return tuple(r.array if dtype is None or r.array.dtype.kind != "f" else r.array.astype(dtype) for r in results)
