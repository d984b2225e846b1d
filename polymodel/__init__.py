"""polymodel: one model and one trainer on TensorFlow, PyTorch and Apache MXNet, proven equivalent through ONNX.

Names load on first use, so that `import polymodel` is quick and imports no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "TensorSpec": "polymodel.spec",
    "Graph": "polymodel.graph",
    "Model": "polymodel.model",
    "Trainer": "polymodel.training.trainer",
    "TrainStep": "polymodel.training.train_step",
    "Phase": "polymodel.training.phase",
    "CompileOptions": "polymodel.backend",
    "Training": "polymodel.backend",
    "Program": "polymodel.backend",
    "Backend": "polymodel.backend",
    "backends": "polymodel.registry",
    "compare": "polymodel_conformance.comparison.run",
    "get_backend": "polymodel.registry",
    "compile": "polymodel.registry",
    "load_onnx": "polymodel.artifact.load",
    "onnx_backend": "polymodel.onnx_interface",
    "export": "polymodel.artifact.export",
    "verify": "polymodel.artifact.verify",
    "rule": "polymodel.custom",
}
_MODULES = ("nn", "optim", "losses", "metrics", "models", "errors", "random", "callbacks", "surgery", "custom", "data")

__all__ = [
    "Backend",
    "CompileOptions",
    "Graph",
    "Model",
    "Phase",
    "Program",
    "TensorSpec",
    "TrainStep",
    "Trainer",
    "Training",
    "__version__",
    "backends",
    "callbacks",
    "compare",
    "compile",
    "custom",
    "data",
    "errors",
    "export",
    "get_backend",
    "load_onnx",
    "losses",
    "metrics",
    "models",
    "nn",
    "onnx_backend",
    "optim",
    "random",
    "rule",
    "surgery",
    "verify",
]

if TYPE_CHECKING:
    from polymodel import callbacks, custom, data, errors, losses, metrics, models, nn, optim, random, surgery
    from polymodel.artifact.export import export
    from polymodel.artifact.load import load_onnx
    from polymodel.artifact.verify import verify
    from polymodel.backend import Backend, CompileOptions, Program, Training
    from polymodel.custom import rule
    from polymodel.graph import Graph
    from polymodel.model import Model
    from polymodel.onnx_interface import onnx_backend
    from polymodel.registry import backends, compile, get_backend
    from polymodel.spec import TensorSpec
    from polymodel.training.phase import Phase
    from polymodel.training.train_step import TrainStep
    from polymodel.training.trainer import Trainer
    from polymodel_conformance.comparison.run import compare


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
    elif name in _MODULES:
        value = import_module(f"polymodel.{name}")
    else:
        raise AttributeError(f"module 'polymodel' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
