"""Apache MXNet as a backend."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, final

import numpy as np

from polymodel.backend import Backend, Program
from polymodel.errors import DeviceUnavailable, Unsupported
from polymodel.graph import Graph
from polymodel.options import Capabilities, CompileOptions, Training
from polymodel_mxnet import compat
from polymodel_mxnet.compat import mxnet
from polymodel_mxnet.dtypes import NAMES
from polymodel_mxnet.program import MXNetProgram
from polymodel_mxnet.rules import TABLE

_NOTES = (
    "int16, uint16, uint32, uint64 and bfloat16, which MXNet 1.9.1 lacks, are held in wider types; a bfloat16 rounds as it should",
    "tensors have fewer than 2^31 elements",
    "programs are compiled once for each input shape",
    "float16 products and convolutions are computed in float32 on the CPU",
    "MaxPool ignores NaN",
    "mxnet-cu112 carries kernels for sm_50 to sm_86 only and needs the CUDA 11.2 libraries",
)


@final
class MXNetBackend(Backend):
    """Lowers graphs to one static CachedOp each.

    `compile="auto"` is "native": MXNet 1.9.1 has no other compiler.
    """

    name = "mxnet"
    table = TABLE

    def versions(self) -> dict[str, str]:
        return {"mxnet": version("mxnet"), "numpy": np.__version__}

    def devices(self) -> tuple[str, ...]:
        return ("cpu", *(f"cuda:{i}" for i in range(mxnet.context.num_gpus())))

    def capabilities(self) -> Capabilities:
        return Capabilities(dtypes=NAMES, dynamic_sizes=False, notes=_NOTES)

    def threads(self) -> int:
        return compat.threads()

    def compile(
        self,
        graph: Graph,
        device: str = "auto",
        *,
        training: Training | None = None,
        options: CompileOptions | None = None,
    ) -> Program:
        options = options or CompileOptions()
        if options.compile not in ("auto", "native"):
            raise Unsupported(f"backend 'mxnet' has no compile={options.compile!r}: use 'auto' or 'native'")
        name, context = self._place(device)
        return MXNetProgram(self, graph, name, context, training, options)

    def _place(self, device: str) -> tuple[str, Any]:
        there = self.devices()
        name = (there[1] if len(there) > 1 else "cpu") if device == "auto" else device
        name = "cuda:0" if name == "cuda" else name
        if name not in there:
            raise DeviceUnavailable(
                f"backend 'mxnet' has no device {device!r} here; it has {', '.join(there)} "
                f"(GPUs need mxnet-cu112 and a card of sm_50 to sm_86)"
            )
        return name, mxnet.cpu() if name == "cpu" else mxnet.gpu(int(name.removeprefix("cuda:")))
