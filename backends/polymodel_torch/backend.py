"""PyTorch as a backend."""

from __future__ import annotations

from typing import final

from polymodel.backend import Backend, Capabilities, CompileOptions, Program, Training
from polymodel.graph import Graph
from polymodel_torch.compat import SLOW_HALVES, default_threads, torch, use_threads
from polymodel_torch.dtypes import NAMES
from polymodel_torch.products import prefers_onednn
from polymodel_torch.program import TorchProgram
from polymodel_torch.rules import TABLE


@final
class TorchBackend(Backend):
    """PyTorch, eager on generated code or compiled by inductor, on the CPU and on CUDA."""

    name = "torch"
    table = TABLE

    def versions(self) -> dict[str, str]:
        found = {"torch": torch.__version__, "dense_products": "oneDNN" if prefers_onednn() else "native"}
        if torch.version.cuda:
            found["cuda"] = torch.version.cuda
        return found

    def devices(self) -> tuple[str, ...]:
        return ("cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())))

    def capabilities(self) -> Capabilities:
        return Capabilities(
            dtypes=NAMES,
            compile=frozenset({"native", "inductor"}),
            tf32=True,
            loss_scaling=True,
            cuda_note="" if torch.version.cuda else "this build of PyTorch has no CUDA",
            notes=(
                "float16 and bfloat16 are computed on the CPU by slow kernels",
                "uint16, uint32 and uint64 are held in signed types",
                "inductor needs a C++ compiler on the CPU",
            ),
        )

    def instead_of(self, dtype: str, device: str) -> str:
        if device != "cpu":
            old = dtype == "bfloat16" and torch.cuda.get_device_capability(device) < (8, 0)
            return "cards before sm_80 convert each bfloat16 to float32 and back" if old else ""
        return self.rounds_products(dtype) if dtype in SLOW_HALVES else ""

    def threads(self) -> int:
        return int(torch.get_num_threads())

    def _compile(self, graph: Graph, device: str, training: Training | None, options: CompileOptions) -> Program:
        use_threads(options.threads or default_threads())
        return TorchProgram(self, graph, device, training, options)
