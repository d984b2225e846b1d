"""Apache MXNet as a backend."""

from __future__ import annotations

from importlib.metadata import version
from typing import final

import numpy as np

from polymodel.backend import Backend, Program
from polymodel.graph import Graph
from polymodel.options import Capabilities, CompileOptions, Training
from polymodel_mxnet import compat
from polymodel_mxnet.compat import mxnet
from polymodel_mxnet.dtypes import NAMES
from polymodel_mxnet.program import MXNetProgram
from polymodel_mxnet.rules import TABLE

_ARCHITECTURES = (50, 86)  # of the machine code in mxnet-cu112 1.9.1, which has no PTX for newer cards
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
        note = "GPUs need mxnet-cu112 and a card of sm_50 to sm_86"
        return Capabilities(
            dtypes=NAMES, loss_scaling=True, dynamic_sizes=False, cuda_note=note, cuda_architectures=_ARCHITECTURES, notes=_NOTES
        )

    def instead_of(self, dtype: str, device: str) -> str:
        if dtype == "float16" and device == "cpu":
            return self.rounds_products(dtype)
        return super().instead_of(dtype, device)

    def threads(self) -> int:
        return compat.threads()

    def _compile(self, graph: Graph, device: str, training: Training | None, options: CompileOptions) -> Program:
        context = mxnet.cpu() if device == "cpu" else mxnet.gpu(int(device.removeprefix("cuda:")))
        return MXNetProgram(self, graph, device, context, training, options)
