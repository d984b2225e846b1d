"""One CachedOp with its arguments bound: what a program calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from polymodel_mxnet.compat import CachedOp, mxnet, translated
from polymodel_mxnet.dtypes import to_mxnet
from polymodel_mxnet.lower import Lowered


@final
class Executable:
    """A lowered plan, ready to run.

    Memory and operator calls are planned once (static_alloc, static_shape); arguments named by `bound` and constants
    are told to MXNet as parameters, so that it caches the calls that read them.

    It always runs in training mode, on which what a graph computes does not depend: in prediction mode oneDNN reorders a
    convolution's weight in place, into blocks that its memory may not hold, and the next call reads garbage.
    """

    def __init__(self, lowered: Lowered, bound: Mapping[str, Any], context: Any) -> None:
        self.lowered = lowered
        constants = {n: to_mxnet(a, context) for n, a in lowered.constants.items()}
        fixed = {**bound, **constants}
        self.arguments: list[Any] = [fixed.get(n) for n in lowered.inputs]
        self.context = context
        self.fed = [(i, n) for i, n in enumerate(lowered.inputs) if n not in fixed and n not in lowered.drawn]
        self.drawn = [(i, lowered.drawn[n]) for i, n in enumerate(lowered.inputs) if n in lowered.drawn]
        data = [i for i, _ in (*self.fed, *self.drawn)]
        flags = [
            ("static_alloc", True),
            ("static_shape", True),
            ("data_indices", data),
            ("param_indices", [i for i in range(len(lowered.inputs)) if i not in data]),
        ]
        with translated():
            self.call = CachedOp(lowered.symbol, flags)

    def __call__(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Push the computation; returns MXNet arrays, one for each output."""
        arguments = self.arguments
        for i, name in self.fed:
            arguments[i] = feeds[name]
        for i, draw in self.drawn:
            arguments[i] = to_mxnet(draw(), self.context)
        with mxnet.autograd.train_mode():
            results = self.call(*arguments)
        return results if isinstance(results, list) else [results]
