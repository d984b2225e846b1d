"""What has a derivative: the standard's word on each input and output, and where the standard is too modest."""

from __future__ import annotations

import onnx

from polymodel.inference import schema
from polymodel_conformance.corpus.entry import Entry

_NEVER = onnx.defs.OpSchema.DifferentiationCategory.NonDifferentiable
_YES = onnx.defs.OpSchema.DifferentiationCategory.Differentiable

IN_TRUTH = frozenset(
    [
        ("AffineGrid", "theta"),
        ("CausalConvWithState", "past_state"),
        ("CausalConvWithState", "present_state"),
        ("Clip", "max"),
        ("Clip", "min"),
        ("DFT", "input"),
        ("GRU", "initial_h"),
        ("GridSample", "grid"),
        ("LSTM", "initial_c"),
        ("LSTM", "initial_h"),
        ("LinearAttention", "past_state"),
        ("LinearAttention", "present_state"),
        ("NegativeLogLikelihoodLoss", "weight"),
        ("OneHot", "output"),
        ("OneHot", "values"),
        ("Pad", "constant_value"),
        ("RNN", "initial_h"),
        ("STFT", "output"),
        ("STFT", "signal"),
        ("STFT", "window"),
        ("SoftmaxCrossEntropyLoss", "weights"),
    ]
)
"""Inputs and outputs that the standard tags as not differentiable and that are, almost everywhere."""

SETTINGS = frozenset([("Upsample", "scales"), ("Range", "start"), ("Range", "limit"), ("Range", "delta")])
"""Float inputs that only say how to compute, and of which the standard says nothing."""

STEPS = frozenset(["Ceil", "Floor", "Hardmax", "Round", "Sign"])
"""Operators whose derivative is zero wherever there is one: a backend must say zero."""

UNTAGGED = frozenset(
    [
        "Attention",
        "DeformConv",
        "DequantizeLinear",
        "LayerNormalization",
        "RMSNormalization",
        "ReverseSequence",
        "RoiAlign",
        "RotaryEmbedding",
    ]
)
"""Differentiable operators of which the standard says nothing."""

def differentiable_operators() -> frozenset[str]:
    """Every operator of the standard that has an input to differentiate by."""
    tagged = {
        s.name
        for s in onnx.defs.get_all_schemas()
        if s.domain == "" and any(i.differentiation_category == _YES for i in s.inputs)
    }
    return frozenset(tagged | UNTAGGED | {op for op, _ in IN_TRUTH})


def constant_values(entry: Entry) -> frozenset[str]:
    """Names of values that nothing is differentiated by: running statistics, float indices, depths."""
    names = set()
    for node in entry.graph.model.graph:
        known = schema(node.op_type, node.domain, entry.graph.opset)
        for formals, values in ((known.inputs, node.inputs), (known.outputs, node.outputs)):
            for i, value in enumerate(values):
                formal = formals[min(i, len(formals) - 1)] if formals else None
                if value is None or formal is None or (node.op_type, formal.name) in IN_TRUTH or node.op_type in STEPS:
                    continue
                if formal.differentiation_category == _NEVER or (node.op_type, formal.name) in SETTINGS:
                    names.add(str(value.name))
    return frozenset(names)
