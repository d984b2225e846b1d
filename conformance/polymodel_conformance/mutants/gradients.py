"""Faults in derivatives."""

from __future__ import annotations

import numpy as np

from polymodel_conformance.mutants.mutant import Arrays, Mutant, arrays, attributes, each, largest
from polymodel_conformance.workers.jobs import Job

_G = "gradients/generated/"


def one_element(job: Job, found: Arrays) -> None:
    """The element of median size of the largest array grows by 0.1 %."""
    flat = found[largest(found)].reshape(-1)
    order = np.argsort(np.abs(flat))
    order = order[np.abs(flat[order]) > 0]
    flat[order[len(order) // 2]] *= np.float32(1.001)


def _zero(job: Job, found: Arrays) -> None:
    """The gradient of the smallest array is zero."""
    name = min(found, key=lambda n: found[n].size)
    found[name] = np.zeros_like(found[name])


def _cotangent(job: Job) -> np.ndarray:
    return next(a for n, a in job.arrays.items() if n.startswith("cotangent/"))


def _straight(job: Job, found: Arrays) -> None:
    """The cotangent passes as it is."""
    found["i0"] = np.array(_cotangent(job))


def _softmax_diagonal(job: Job, found: Arrays) -> None:
    """y * cotangent, without the term that the sum of the outputs being 1 adds."""
    x = job.arrays["feed/i0"].astype(np.float64)
    y = np.exp(x - x.max(1, keepdims=True))
    found["i0"] = (y / y.sum(1, keepdims=True) * _cotangent(job)).astype(np.float32)


def _statistics_constant(job: Job, found: Arrays) -> None:
    """The gradient of a batch normalization whose statistics do not depend on the batch."""
    x = job.arrays["feed/x"].astype(np.float64)
    axes = (0, *range(2, x.ndim))
    scale = job.graph.parameters["weight"].reshape(1, -1, *(1,) * (x.ndim - 2)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    found["x"] = (_cotangent(job) * scale).astype(np.float32)


def _swapped(job: Job, found: Arrays) -> None:
    found["i1"], found["i2"] = found["i2"], found["i1"]


def _forgotten(job: Job, found: Arrays) -> None:
    found["i5"] = np.zeros_like(found["i5"])


GRADIENTS: tuple[Mutant, ...] = (
    Mutant("one gradient element +0.1 %", "gradients/layer/conv2d", reply=arrays(one_element)),
    Mutant("gradient of a bias zero", "gradients/layer/linear", reply=arrays(_zero)),
    Mutant("gradients added to those of the call before", "gradients/layer/linear", reply=each(lambda a: a * np.float32(2))),
    Mutant("gradients of the wrong sign", "gradients/layer/layer_norm", reply=each(np.negative)),
    Mutant("gradients cut to float16", "gradients/layer/linear", reply=each(lambda a: a.astype(np.float16).astype(np.float32))),
    Mutant("Floor lets the gradient through", f"{_G}floor", reply=arrays(_straight)),
    Mutant("Clip lets all of the gradient through", f"{_G}clip", reply=arrays(_straight)),
    Mutant("Softmax gradient of the diagonal only", f"{_G}softmax_middle", reply=arrays(_softmax_diagonal)),
    Mutant("BatchNorm statistics constant in the gradient", "batch_norm/2d/gradients", reply=arrays(_statistics_constant)),
    Mutant("AveragePool gradient over the whole window", f"{_G}avgpool_odd", attributes("AveragePool", count_include_pad=1)),
    Mutant("Gelu gradient by tanh", f"{_G}gelu", attributes("Gelu", approximate="tanh")),
    Mutant("gradients of scale and bias swapped", f"{_G}layernorm", reply=arrays(_swapped)),
    Mutant("gradient of an initial state zero", f"{_G}lstm_initial", reply=arrays(_forgotten)),
    Mutant("GRU gradient of the other reset", f"{_G}gru_linear_before_reset", attributes("GRU", linear_before_reset=0)),
    Mutant("Resize gradient with aligned corners", f"{_G}resize_linear_half_pixel",
           attributes("Resize", coordinate_transformation_mode="align_corners")),
    Mutant("label smoothing of the gradient 0.11 for 0.1", "gradients/loss/cross_entropy_smoothed", reply=each(
        lambda a: a * np.float32(0.89 / 0.9))),
)
