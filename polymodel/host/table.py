"""Running one call on the host, and the table of the operators that may be run so.

A host rule is ``rule(proto, values, opsets)``: the call as a protobuf message, a value for each input (None where it is
left out or is an empty optional), the versions of the operator domains; it returns the values of the outputs in order.
Values are NumPy arrays (of objects for strings), lists for sequences, None for an empty optional, dicts for maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from polymodel.rules import RuleTable

HOST = RuleTable("host")
"""Host rules by operator."""


def runs_on_host(proto: onnx.NodeProto) -> bool:
    """Whether there is a host rule for a call."""
    return (proto.domain, proto.op_type) in HOST


def run_on_host(proto: onnx.NodeProto, values: Sequence[Any], opsets: Mapping[str, int]) -> dict[str, Any]:
    """Compute the outputs of a call, by name.

    Args:
        proto: an operator for which there is a host rule.
        values: one for each of its inputs.
        opsets: version of each operator domain.
    """
    rule = HOST.newest(proto.domain, proto.op_type)
    found = rule.function(proto, values, opsets)
    return {n: _plain(v) for n, v in zip(proto.output, found, strict=False) if n}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, dict):
        return value
    return np.asarray(value)
