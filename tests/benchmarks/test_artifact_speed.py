"""An artifact runs in ONNX Runtime no slower than what torch.onnx.export writes of the same network."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from polymodel import models
from polymodel.artifact import runtime
from polymodel.artifact.export import export
from polymodel_torch import native_loops

PAIRS = 15
BATCH = 8
LIMIT = 1.05


def seconds(session: Any, feeds: dict[str, np.ndarray]) -> float:
    """CPU seconds of one run on one thread; neighbours on the machine change the elapsed time, hardly this."""
    start = time.process_time()
    runtime.run(session, feeds)
    return time.process_time() - start


def test_resnet18_against_torch_export(tmp_path: Path) -> None:
    export(models.reference("resnet18").model.graph, tmp_path / "ours.onnx", verify=False)
    x = np.random.default_rng(0).standard_normal((BATCH, 3, 32, 32), dtype=np.float32)
    net = native_loops._NETS["resnet18"]().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter, about itself
        batch = {0: torch.export.Dim("batch")}
        torch.onnx.export(
            net, (torch.from_numpy(x),), tmp_path / "torch.onnx", input_names=["x"], dynamic_shapes=(batch,), verbose=False
        )
    ours, theirs = (runtime.session(tmp_path / f"{n}.onnx") for n in ("ours", "torch"))
    for session in (ours, theirs):
        seconds(session, {"x": x})
    pairs = [(seconds(ours, {"x": x}), seconds(theirs, {"x": x})) for _ in range(PAIRS)]
    ratio = median(a / b for a, b in pairs)
    ms = [median(p[i] for p in pairs) * 1e3 for i in (0, 1)]
    print(f"resnet18 in ONNX Runtime: {ms[0]:.1f} ms, torch.onnx.export {ms[1]:.1f} ms, median ratio {ratio:.3f}")
    assert ratio <= LIMIT
