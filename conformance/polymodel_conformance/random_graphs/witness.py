"""ONNX Runtime as one more worker: ``python -m polymodel_conformance.random_graphs.witness onnxruntime [PROVIDER]``.

It answers the same requests as workers/worker.py, values only, and runs a file as it lies on the disk when the option "file" names one.
What it refuses is no judgement on anybody.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from polymodel_conformance.workers.jobs import unpack_graph
from polymodel_conformance.workers.wire import Closed, Wire

REFUSED = "Refused"
NAME = "onnxruntime"
PROVIDER = "CPUExecutionProvider"
MODULE = __name__ if __name__ != "__main__" else "polymodel_conformance.random_graphs.witness"


def main() -> None:
    """Serve one connection."""
    wire = Wire(0, os.dup(1))
    os.dup2(2, 1)
    try:
        import onnxruntime
    except ImportError as error:
        wire.send({"status": "error", "error": "ImportError", "message": str(error)}, {})
        return
    provider = sys.argv[2] if sys.argv[2:] and sys.argv[2].endswith("Provider") else PROVIDER
    there = onnxruntime.get_available_providers()
    if provider not in there:
        message = f"ONNX Runtime {onnxruntime.__version__} has no {provider} here; it has {', '.join(there)}"
        wire.send({"status": "error", "error": "DeviceUnavailable", "message": message}, {})
        return
    wire.send({"status": "ready", "versions": {NAME: onnxruntime.__version__, "provider": provider}}, {})
    while True:
        try:
            header, arrays = wire.receive()
        except Closed:
            return
        if "graph" not in header:
            wire.send({"status": "need"}, {})
            continue
        try:
            wire.send({"status": "done"}, answer(onnxruntime, header, arrays, provider))
        except Exception as error:  # one exception type for each of its status codes
            kind = REFUSED
            wire.send({"status": "error", "error": kind, "message": str(error)[:500]}, {})


def answer(
    onnxruntime: Any, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], provider: str = PROVIDER
) -> dict[str, np.ndarray]:
    """Run a graph whose parameters are inputs, or a file that holds them."""
    graph, file = unpack_graph("graph", header["graph"], arrays), header["options"].get("file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        file or arrays["graph/proto"].tobytes(), options, providers=[provider]
    )
    given = {n.removeprefix("feed/"): a for n, a in arrays.items() if n.startswith("feed/")}
    known = {i.name for i in session.get_inputs()}
    feeds = {n: a for n, a in {**graph.parameters, **graph.buffers, **given}.items() if n in known}
    names = list(header["options"]["outputs"])
    return dict(zip(names, (np.asarray(a) for a in session.run(names, feeds)), strict=True))


if __name__ == "__main__":
    main()
    sys.exit(0)
