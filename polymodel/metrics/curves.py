"""Areas under curves over all thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from polymodel.builder import Builder
from polymodel.errors import ConfigError
from polymodel.metrics.base import StreamingMetric, same_shape, stacked
from polymodel.spec import numpy_dtype
from polymodel.tensor import Tensor


@final
@dataclass(frozen=True)
class AUC(StreamingMetric):
    """Area under the curve of a yes-or-no prediction; output and target have one shape, all elements are pooled.

    Scores in [0, 1] are counted in equal bins, so that any number of samples fits; the area is the exact one for scores
    rounded down to their bin, ties counting half: sklearn.metrics.roc_auc_score and average_precision_score of those.

    Args:
        curve: "roc", or "pr" for precision over recall (as a sum of steps); the name is "auc" or "auc_pr".
        bins: how many, >= 2.
        logits: whether the output holds logits (a sigmoid is applied) or probabilities.
    """

    curve: Literal["roc", "pr"] = "roc"
    bins: int = 200
    logits: bool = True

    def __post_init__(self) -> None:
        if self.curve not in ("roc", "pr"):
            raise ConfigError(f"metric 'auc': curve is 'roc' or 'pr', received {self.curve!r}")
        if isinstance(self.bins, bool) or not isinstance(self.bins, int) or self.bins < 2:
            raise ConfigError(f"metric 'auc': bins is an integer of 2 or more, received {self.bins!r}")

    @property
    def name(self) -> str:
        """By the curve."""
        return "auc" if self.curve == "roc" else "auc_pr"

    def build(self, b: Builder, output: Tensor, target: Tensor) -> Tensor:
        """Counts (2, bins): of yes and of no."""
        same_shape(self.name, output, target)
        scores = b.op("Sigmoid", output) if self.logits else output
        places = b.op("Cast", b.op("Floor", scores * float(self.bins)), to=_INT64)
        places = b.op("Clip", places, b.constant(0, "int64"), b.constant(self.bins - 1, "int64"))
        ends = np.array([0.0, 1.0], numpy_dtype(output.dtype))
        hot = b.op("OneHot", b.op("Reshape", places, [-1]), np.array(self.bins, np.int64), ends, axis=1)
        yes = b.op("Reshape", target, [-1])
        return b.op("MatMul", stacked(b, yes, 1.0 - yes), hot)

    def finish(self, total: np.ndarray) -> float:
        """The area; NaN when there is no yes, or for "roc" no no."""
        yes, no = total[:, ::-1]
        above = np.cumsum(yes)
        if self.curve == "roc":
            return _ratio(float((no * (above - 0.5 * yes)).sum()), float(yes.sum() * no.sum()))
        said = np.cumsum(yes + no)
        precision = np.divide(above, said, out=np.zeros_like(above), where=said > 0)
        return _ratio(float((yes * precision).sum()), float(yes.sum()))


_INT64 = 7  # onnx.TensorProto.INT64


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("nan")
