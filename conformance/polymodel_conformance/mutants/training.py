"""Faults in BatchNorm, randomness and training steps."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir

from polymodel import losses, models
from polymodel.graph import Graph
from polymodel_conformance.levels.randomness import RATE
from polymodel_conformance.mutants.gradients import one_element
from polymodel_conformance.mutants.mutant import Arrays, Mutant, arrays, attributes, each, fed, graphs, nodes, options
from polymodel_conformance.workers.jobs import Job

NORM, NETWORK, STEP, MLP = (
    "batch_norm/2d/train", "batch_norm/network/gradients", "trajectory/lenet/sgd/step01", "trajectory/mlp/sgd/step01",
)
DEVICES, PARTS = "trajectory/lenet/sgd/devices", "trajectory/lenet/sgd/accumulated"
"""Eight samples on three devices, or in three parts: 3, 3 and 2."""


def _shifted_padding(node: ir.Node, body: ir.Graph) -> None:
    pads = node.attributes["pads"].as_ints()
    half = len(pads) // 2
    node.attributes["pads"] = ir.AttrInt64s("pads", [*[0] * half, *(pads[i] + pads[i + half] for i in range(half))])


def _leaky(node: ir.Node, body: ir.Graph) -> None:
    node.op_type = "LeakyRelu"
    node.attributes["alpha"] = ir.AttrFloat32("alpha", 1e-3)


def _tf32(node: ir.Node, body: ir.Graph) -> None:
    """Both factors rounded to 11 significant bits by Veltkamp's splitting: c = (2^13 + 1) x; x' = c - (c - x)."""
    for i in (0, 1):
        x = node.inputs[i]
        factor = ir.Value(name=f"{node.name}.split{i}", shape=ir.Shape(()), type=ir.TensorType(ir.DataType.FLOAT))
        factor.const_value = ir.tensor(np.array(8193.0, np.float32), name=factor.name)
        body.register_initializer(factor)
        c = ir.node("Mul", [x, factor], name=f"{node.name}.split{i}.c")
        rest = ir.node("Sub", [c.outputs[0], x], name=f"{node.name}.split{i}.rest")
        high = ir.node("Sub", [c.outputs[0], rest.outputs[0]], name=f"{node.name}.split{i}.high")
        for new in (c, rest, high):
            new.outputs[0].name = f"{new.name}.out"
        body.insert_before(node, [c, rest, high])
        node.replace_input_with(i, high.outputs[0])


def _smoothed(graph: Graph) -> Graph:
    """The training graph of the same model under a slightly smoothed loss."""
    return models.reference("mlp").model.training_graph(losses.CrossEntropy(label_smoothing=1e-3))


def _unbiased(job: Job, found: Arrays) -> None:
    """Running variance from n - 1 instead of n: what the batch added grows by n / (n - 1)."""
    name = next(n for n in found if "var" in n)
    x = job.arrays["feed/x"]
    n = x.size // x.shape[1]
    old = job.graph.buffers["running_var"] * np.float32(0.9)
    found[name] = (old + (found[name] - old) * np.float32(n / (n - 1))).astype(np.float32)


def _still(job: Job, found: Arrays) -> None:
    found[next(n for n in found if "mean" in n)] = np.array(job.graph.buffers["running_mean"])


def _batch_statistics(job: Job, found: Arrays) -> None:
    """Evaluation that normalizes by the batch."""
    x = job.arrays["feed/x"].astype(np.float64)
    axes, channels = (0, *range(2, x.ndim)), (1, -1, *(1,) * (x.ndim - 2))
    weight, bias = (job.graph.parameters[n].reshape(channels) for n in ("weight", "bias"))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5) * weight + bias
    found["y"] = y.astype(np.float32)


def _last_two(job: Job, found: Arrays) -> None:
    found["permutation"][-2:] = found["permutation"][-2:][::-1]


def _mirrored(job: Job, found: Arrays) -> None:
    """One image of one batch."""
    found["5.1.x"][0] = found["5.1.x"][0, :, :, ::-1].copy()


def _frozen(job: Job, found: Arrays) -> None:
    """The last parameter stays."""
    name = [n for n in found if n.startswith("parameters/")][-1]
    found[name] = np.array(job.arrays[name])


def _twice(a: np.ndarray) -> np.ndarray:
    """The last sample is that before it once more."""
    a[-1] = a[-2]
    return a


def _first_again(a: np.ndarray) -> np.ndarray:
    """The third part is rows of the first."""
    a[6:] = a[:2]
    return a


def _short(a: np.ndarray) -> np.ndarray:
    return a.astype(ml_dtypes.bfloat16).astype(np.float32)


BATCH_NORM: tuple[Mutant, ...] = (
    Mutant("BatchNorm epsilon 2e-5 instead of 1e-5", NORM, attributes("BatchNormalization", epsilon=2e-5)),
    Mutant("BatchNorm momentum for 1 - momentum", NORM, attributes("BatchNormalization", momentum=0.1)),
    Mutant("BatchNorm running variance unbiased", NORM, reply=arrays(_unbiased)),
    Mutant("BatchNorm running mean does not move", NORM, reply=arrays(_still)),
    Mutant("BatchNorm evaluates by the batch", "batch_norm/2d/evaluate", reply=arrays(_batch_statistics)),
    Mutant("padding on the wrong side", NETWORK, nodes(["Conv"], _shifted_padding)),
)

RANDOMNESS: tuple[Mutant, ...] = (
    Mutant("dropout mask of the step after", "randomness/mask/step1", options(step=lambda n: n + 1)),
    Mutant("dropout without its scale", "randomness/dropout", reply=each(lambda a: a * np.float32(1 - RATE))),
    Mutant("dropout does nothing", "randomness/dropout", reply=arrays(lambda job, a: a.update(y=np.array(job.arrays["feed/x"])))),
    Mutant("a shuffle with two places swapped", "randomness/generator", reply=arrays(_last_two)),
    Mutant("one image of a batch mirrored", "randomness/augmentation", reply=arrays(_mirrored)),
    Mutant("initial values one ULP off", "randomness/initial/lenet", reply=each(lambda a: np.nextafter(a, np.float32(9)))),
    Mutant("initial values in another order", "randomness/initial/mlp", reply=each(
        lambda a: np.ascontiguousarray(a.reshape(-1)[::-1]).reshape(a.shape))),
)

STEPS: tuple[Mutant, ...] = (
    Mutant("ReLU leaks 1e-3", STEP, nodes(["Relu"], _leaky)),
    Mutant("one of 400 000 elements of a slot +0.1 %", MLP, reply=arrays(one_element)),
    Mutant("label smoothing 1e-3", MLP, graphs(_smoothed)),
    Mutant("factors rounded to TF32", STEP, nodes(["Conv", "Gemm", "MatMul"], _tf32)),
    Mutant("learning rate cut to bfloat16", MLP, options(lr=lambda lr: float(np.asarray(lr, ml_dtypes.bfloat16)))),
    Mutant("a parameter stays", STEP, reply=arrays(_frozen)),
    Mutant("the last sample is left out", STEP, fed("x", "target", change=_twice)),
    Mutant("slots kept in bfloat16", STEP, reply=each(_short, having="slots/")),
    Mutant("loss of the batch summed", MLP, reply=each(lambda a: a * 16, having="scalar/")),
    Mutant("the third device has rows of the first", DEVICES, fed("x", "target", change=_first_again)),
    Mutant("gradients of three devices summed", DEVICES, options(lr=lambda lr: 3 * lr)),
    Mutant("a parameter stays on several devices", DEVICES, reply=arrays(_frozen)),
    Mutant("the third part has rows of the first", PARTS, fed("x", "target", change=_first_again)),
    Mutant("losses of three parts summed", PARTS, reply=each(lambda a: a * 3, having="scalar/")),
)
