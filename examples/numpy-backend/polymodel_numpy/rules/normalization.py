"""Normalization. The variance of a batch is the biased one, also in the running estimate, as the standard says."""

from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_numpy.rules.reduction import total
from polymodel_numpy.rules.table import TABLE


@TABLE.rule("BatchNormalization", since=14)
def batch_norm(node: Node, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    axes, shape = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    keep, training, count = node.attr("momentum"), bool(node.attr("training_mode")), x.size // x.shape[1]
    used_mean = total(x, axes) / count if training else mean.reshape(shape).astype(np.float64)
    centred = x - used_mean
    used_var = total(centred**2, axes) / count if training else var.reshape(shape)
    inverse = 1 / np.sqrt(used_var + node.attr("epsilon"))
    normal, factor = centred * inverse, scale.reshape(shape) * inverse
    running = (mean * keep + used_mean.ravel() * (1 - keep), var * keep + used_var.ravel() * (1 - keep))

    def pull(g: Any, *by_running: Any) -> Any:
        by_bias, by_scale = total(g, axes), total(g * normal, axes)
        if not training:
            by_var = -0.5 * factor * inverse * by_scale
            return factor * g, by_scale.ravel(), by_bias.ravel(), (-factor * by_bias).ravel(), by_var.ravel()
        by_mean, by_var = (h.reshape(shape) * (1 - keep) for h in (*by_running, np.zeros_like(mean), np.zeros_like(var))[:2])
        by_x = factor * (g - by_bias / count - normal * by_scale / count) + (by_mean + 2 * by_var * centred) / count
        return by_x, by_scale.ravel(), by_bias.ravel(), *(keep * h for h in by_running)

    return (normal * scale.reshape(shape) + bias.reshape(shape), *running), pull
