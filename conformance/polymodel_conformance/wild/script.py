"""A subject and a route become a Python script: what a sweep runs, and what a finding shows, are the same text.

A script defines `inputs`, `model` and `export(path)`; as a program it exports and shows how the file differs from the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from polymodel_conformance.wild.subject import Subject

BATCH = 2


@final
@dataclass(frozen=True)
class Route:
    """A way to export.

    Attributes:
        name: as in reports.
        families: of the subjects that can go it.
        process: the framework of the process that goes it, and the backend of Keras there.
        batch: whether the number of samples stays open in the file.
        text: the lines of `export`.
    """

    name: str
    families: tuple[str, ...]
    process: str
    batch: bool
    text: str


_KERAS = '    model.export(path, format="onnx", verbose=False)\n'
_FIXED = '''    specs = [keras.InputSpec(shape=a.shape, dtype=a.dtype.name) for a in inputs]
    model.export(path, format="onnx", verbose=False, input_signature=specs if len(specs) == 1 else [specs])
'''
_TORCH = "    torch.onnx.export(model, tuple(map(torch.from_numpy, inputs)), path, {options})\n"
_TF = '''    import tensorflow as tf
    import tf2onnx

    specs = [tf.TensorSpec(a.shape, a.dtype) for a in inputs]
    tf2onnx.convert.from_function(tf.function(model), specs, opset=18, output_path=path)
'''
ROUTES = (
    Route("keras on tensorflow", ("keras",), "tensorflow", True, _KERAS),
    Route("keras on torch", ("keras",), "torch", True, _KERAS),
    Route("keras on torch, fixed sizes", ("keras",), "torch", False, _FIXED),
    Route("torch.onnx", ("torch.nn", "model"), "torch", False, _TORCH.format(options="dynamo=True, verbose=False")),
    Route("torch.onnx, legacy", ("torch.nn", "model"), "torch", False, _TORCH.format(options="dynamo=False")),
    Route("tf2onnx", ("model",), "tensorflow", False, _TF),
)
ACROSS = "keras on torch and on tensorflow"
"""Not a route: the module of one against the file of the other."""


def script(subject: Subject, route: Route) -> str:
    """The definitions."""
    made = {"keras": _keras, "torch.nn": _torch, "model": _model}[subject.family](subject, route)
    return f"{made}\n\ndef export(path):\n{route.text}"


def program(subject: Subject, route: Route) -> str:
    """A script that shows what it finds, with the framework, onnx and onnxruntime."""
    settings = [f'os.environ["KERAS_BACKEND"] = "{route.process}"'] if subject.family == "keras" else []
    settings += [_ONEDNN] if route.process == "tensorflow" else []
    setting = "\n".join(["import os", "", *settings, ""]) if settings else ""
    native = _NATIVE["keras" if subject.family == "keras" else route.process]
    return f"{setting}{script(subject, route)}{_SHOW.format(native=native)}"


_ONEDNN = 'os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"'  # as workers have it; by default the processor decides


def across(subject: Subject) -> str:
    """A script that runs a Keras layer on both backends, with the same weights and inputs, and shows how they differ."""
    return f"{_BOTH}{_keras(subject, ROUTES[0])}np.savez(sys.argv[1], *{_NATIVE['keras']})\n"


_BOTH = """import os
import subprocess
import sys

if len(sys.argv) == 1:  # each backend in a process of its own
    import numpy as np

    for backend in ("tensorflow", "torch"):
        subprocess.run([sys.executable, __file__, backend], check=True)
    a, b = np.load("tensorflow.npz"), np.load("torch.npz")
    for n in a.files:
        print(a[n].shape, b[n].shape, abs(a[n] - b[n]).max() if a[n].shape == b[n].shape else "")
    sys.exit()
os.environ["KERAS_BACKEND"] = sys.argv[1]
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
"""
_NATIVE = {
    "keras": "[keras.ops.convert_to_numpy(t) for t in keras.tree.flatten(model(inputs[0] if len(inputs) == 1 else inputs))]",
    "torch": "[t.detach().numpy() for t in torch.utils._pytree.tree_leaves(model(*map(torch.from_numpy, inputs)))]",
    "tensorflow": "[model(*inputs).numpy()]",
}
_SHOW = """

if __name__ == "__main__":
    import onnx
    import onnxruntime

    expected = {native}
    export("net.onnx")
    onnx.checker.check_model("net.onnx", full_check=True)
    session = onnxruntime.InferenceSession("net.onnx")
    found = session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs)))
    for a, b in zip(expected, found):
        print(a.shape, b.shape, abs(a - b).max() if a.shape == b.shape else "")
"""


def _arrays(subject: Subject) -> str:
    return "rng = np.random.default_rng(0)\ninputs = [" + ", ".join(a.expression(BATCH) for a in subject.arrays) + "]\n"


def _keras(subject: Subject, route: Route) -> str:
    single = len(subject.arrays) == 1
    placed = "keras.Input({0}.shape[1:], dtype={0}.dtype.name)".format
    x = placed("inputs[0]") if single else f"[{placed('a')} for a in inputs]"
    given = "inputs[0]" if single else "inputs"
    return f"""import keras
import numpy as np

{_arrays(subject)}x = {x}
model = keras.Model(x, {subject.call.replace("{x}", "x")})
model({given})
model.set_weights([rng.uniform(0.1, 0.6, w.shape).astype(w.dtype) for w in model.get_weights()])
"""


def _torch(subject: Subject, route: Route) -> str:
    return f"""import numpy as np
import torch

{_arrays(subject)}model = {subject.call}.eval()
for name, value in model.state_dict().items():
    if value.is_floating_point():
        value.copy_(torch.from_numpy(rng.uniform(0.1, 0.6, value.shape)))
"""


def _model(subject: Subject, route: Route) -> str:
    return f"""import polymodel as pm
from polymodel.models import reference
{"import torch" if route.process == "torch" else ""}
case = reference("{subject.call}")
inputs = [case.make_batch({BATCH})[0]]
model = pm.compile(case.model.graph, backend="{route.process}").native
"""
