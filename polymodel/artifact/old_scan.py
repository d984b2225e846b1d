"""Scan of opset 8, which runs over the sequences of a batch, as two of the later Scans: over the batch, and inside over time.

The version converter of the onnx package drops the batch from the types and leaves the meaning behind.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper, version_converter

_ASIDE = "polymodel.scan_8"


def batched_scans(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of opset 8 at opset 9, with its Scans rewritten.

    Raises:
        ValueError: a Scan has sequence lengths, which later opsets do not have.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node:
        if node.op_type == "Scan":
            node.domain = _ASIDE  # the converter leaves operators of other domains alone
    changed.opset_import.append(helper.make_opsetid(_ASIDE, 1))
    changed = version_converter.convert_version(changed, 9)
    nodes = [_over_batch(n) if n.domain == _ASIDE else n for n in changed.graph.node]
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    kept = [o for o in changed.opset_import if o.domain != _ASIDE]
    del changed.opset_import[:]
    changed.opset_import.extend(kept)
    return changed


def _over_batch(node: onnx.NodeProto) -> onnx.NodeProto:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.input[0]:
        raise ValueError(f"Scan {node.name or node.output[0]!r} has sequence lengths, which no later opset has")
    body, names = given["body"], [f"{n}.one" for n in node.input[1:]]
    outs = [f"{v.name}.one" for v in body.output]
    more: dict[str, Any] = {"scan_input_directions": list(given["directions"])} if "directions" in given else {}
    over_time = helper.make_node("Scan", names, outs, body=body, num_scan_inputs=given["num_scan_inputs"], **more)
    pairs = zip(names, body.input, strict=True)
    inputs = [helper.make_tensor_value_info(n, v.type.tensor_type.elem_type, None) for n, v in pairs]
    found = [helper.make_tensor_value_info(n, v.type.tensor_type.elem_type, None) for n, v in zip(outs, body.output, strict=True)]
    one = helper.make_graph([over_time], "sequence", inputs, found)
    return helper.make_node("Scan", node.input[1:], node.output, node.name, body=one, num_scan_inputs=len(names))
