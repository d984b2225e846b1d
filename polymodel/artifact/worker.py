"""The child process of verify: one backend runs one file on given inputs.

    python -m polymodel.artifact.worker BACKEND MODEL.onnx INPUTS.npz OUTPUTS.npz

The last line it prints is JSON: {"version": ...}, or {"kind": exception, "error": message} with exit code 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np


def main(arguments: Sequence[str]) -> int:
    """Run; see the module's docstring."""
    from polymodel.artifact.load import load_onnx
    from polymodel.errors import PolymodelError
    from polymodel.options import CompileOptions
    from polymodel.registry import get_backend

    name, path, given, found = arguments
    try:
        backend = get_backend(name)
        graph = load_onnx(path)
        program = backend.compile(graph, "cpu", options=CompileOptions(threads=1))
        with np.load(given) as file:
            feeds = {n: file[f"i{k}"] for k, n in enumerate(graph.inputs)}
        results = program.predict(feeds)
        np.savez(found, **{f"o{k}": results[n] for k, n in enumerate(graph.outputs)})
        said = {"version": str(next(iter(backend.versions().values()), ""))}
    except PolymodelError as error:
        said = {"kind": type(error).__name__, "error": str(error)}
    print(json.dumps(said))
    return 0 if "version" in said else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
