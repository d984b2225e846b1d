"""ONNX Runtime: the program that most artifacts are written for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from polymodel.errors import ArtifactError, BackendUnavailable

ROUGH = frozenset({"Sigmoid"})
"""Operators that it computes with an error of 2^-24 whatever the result: Sigmoid(-15) is 17 % too large, Sigmoid(-19) is 0
(1.31.1; docs/framework-bugs.md)."""
COMMAND = 'pip install -e ".[onnxruntime]"'


def import_onnxruntime() -> Any:
    """The module.

    Raises:
        BackendUnavailable: it is not installed or does not load.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            f"ONNX Runtime, which verifies artifacts, cannot be imported ({error}): {COMMAND} installs it; "
            "verify=False (--no-verify) writes without it"
        ) from None
    return onnxruntime


def session(path: str | os.PathLike[str], threads: int = 1) -> Any:
    """An inference session on the CPU.

    Raises:
        ArtifactError: ONNX Runtime refuses the file.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exception types, one for each status code
        raise ArtifactError(f"ONNX Runtime {onnxruntime.__version__} refuses {os.fspath(path)}: {error}") from None


def run(opened: Any, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output by name.

    Raises:
        ArtifactError: the run failed.
    """
    names = [o.name for o in opened.get_outputs()]
    try:
        return dict(zip(names, opened.run(names, dict(feeds)), strict=True))
    except Exception as error:  # as above
        raise ArtifactError(f"ONNX Runtime cannot run the file: {error}") from None


def name() -> str:
    """Name and version."""
    return f"onnxruntime {import_onnxruntime().__version__}"
