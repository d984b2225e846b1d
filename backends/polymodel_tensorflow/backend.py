"""TensorFlow as a backend."""

from __future__ import annotations

from typing import final

from polymodel.backend import Backend, Capabilities, CompileOptions, Program, Training
from polymodel.graph import Graph
from polymodel_tensorflow.compat import fix_threads, gpus, intra_op_threads, start, tf
from polymodel_tensorflow.dtypes import DTYPES
from polymodel_tensorflow.program import TensorFlowProgram
from polymodel_tensorflow.rules import TABLE

_COMPILE = frozenset({"native", "xla"})


@final
class TensorFlowBackend(Backend):
    """Programs are tf.functions, compiled by XLA where that is faster."""

    name = "tensorflow"
    table = TABLE

    def versions(self) -> dict[str, str]:
        info = tf.sysconfig.get_build_info()
        found = {"tensorflow": str(tf.__version__)}
        found.update({k.removesuffix("_version"): str(info[k]) for k in ("cuda_version", "cudnn_version") if k in info})
        return found

    def devices(self) -> tuple[str, ...]:
        return ("cpu", *(f"cuda:{i}" for i in range(len(gpus()))))

    def capabilities(self) -> Capabilities:
        return Capabilities(
            dtypes=DTYPES,
            compile=_COMPILE,
            tf32=True,
            loss_scaling=True,
            cuda_note="GPUs need the build 'tensorflow[and-cuda]' and an NVIDIA driver",
            notes=(
                "threads are fixed when the first program of a process is compiled",
                "deterministic=True holds for the whole process from then on",
                "the CUDA build is another distribution: pip install 'tensorflow[and-cuda]'",
            ),
        )

    def instead_of(self, dtype: str, device: str) -> str:
        if device == "cpu":
            return self.rounds_products(dtype)
        name = tf.config.list_physical_devices("GPU")[int(device.removeprefix("cuda:"))]
        capability = tf.config.experimental.get_device_details(name).get("compute_capability", (8, 0))
        return "cards before sm_80 convert each bfloat16 to float32 and back" if dtype == "bfloat16" and capability < (8, 0) else ""

    def threads(self) -> int:
        return intra_op_threads()

    def _compile(self, graph: Graph, device: str, training: Training | None, options: CompileOptions) -> Program:
        fix_threads(options.threads)
        start()
        if options.deterministic:
            tf.config.experimental.enable_op_determinism()
        return TensorFlowProgram(self, graph, device, training, options)
