"""backend.py, compat.py, lower.py and inductor.py: what can be asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from polymodel.backend import Backend, CompileOptions
from polymodel.errors import ConfigError, DeviceUnavailable, Unsupported
from polymodel.graph import Graph
from polymodel.passes.specialize import specialize
from polymodel.registry import get_backend
from polymodel.spec import TensorSpec
from polymodel_torch import compat
from polymodel_torch.lower import lower

Arrays = dict[str, np.ndarray]


def test_it_is_found_through_its_entry_point() -> None:
    found = get_backend("torch")
    assert found.name == "torch"
    assert found.versions()["torch"] == torch.__version__
    assert found.devices()[0] == "cpu"


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "CPU"])
def test_a_device_that_is_not_there(backend: Backend, graph_of: Callable[..., Graph], device: str) -> None:
    graph = graph_of(lambda b, x: {"y": x + 1.0}, x=TensorSpec((2,)))
    with pytest.raises(DeviceUnavailable, match=f"{device}.*has cpu"):
        backend.compile(graph, device)


def test_a_compiler_of_another_framework_is_refused(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    graph = graph_of(lambda b, x: {"y": x + 1.0}, x=TensorSpec((2,)))
    with pytest.raises(ConfigError, match=r"xla.*inductor"):
        backend.compile(graph, "cpu", options=CompileOptions(compile="xla"))


def test_auto_is_the_cpu_without_cuda(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    graph = graph_of(lambda b, x: {"y": x + 1.0}, x=TensorSpec((2,)))
    assert backend.compile(graph).device == ("cuda:0" if torch.cuda.is_available() else "cpu")


def test_an_element_type_that_torch_lacks(backend: Backend, graph_of: Callable[..., Graph]) -> None:
    graph = graph_of(lambda b, x: {"y": b.op("Identity", x)}, x=TensorSpec((2,), "string"))
    with pytest.raises(Unsupported, match="string"):
        lower(specialize(graph, ("y",)), "cpu")


def test_tf32_is_off() -> None:
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("", None), ("many", None)])
def test_threads_by_default(monkeypatch: pytest.MonkeyPatch, value: str, expected: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert compat.default_threads() == (expected or len(os.sched_getaffinity(0)))


def test_the_package_alone_imports_no_framework() -> None:
    code = "import sys, polymodel_torch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_missing_framework_says_what_to_type() -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from polymodel.errors import BackendUnavailable\n"
        "import polymodel_torch\n"
        "try:\n"
        "    polymodel_torch.load()\n"
        "except BackendUnavailable as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install -e ".[torch]"' in done.stdout


def test_a_plan_becomes_code_once(graph_of: Callable[..., Graph]) -> None:
    graph = graph_of(lambda b, x: {"y": b.op("Relu", x) * 2.0}, x=TensorSpec(("n", 3)))
    lowered = lower(specialize(graph, ("y",)), "cpu")
    module: Any = lowered.module
    assert isinstance(module, torch.fx.GraphModule)
    assert "torch.relu(in_0)" in module.code
    assert lowered.inputs == ("x",)


def test_auto_is_native(trained: Callable[..., Any], batch: Arrays) -> None:
    auto, native = trained(compile="auto"), trained(compile="native")
    for program in (auto, native):
        program.train_step(batch, lr=0.1, step=1)
    for name, value in native.parameters.items():
        np.testing.assert_array_equal(auto.parameters[name], value)


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # importing inductor warns of itself
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_takes_the_same_step(trained: Callable[..., Any], batch: Arrays) -> None:
    compiled, plain = trained(compile="inductor"), trained(compile="native")
    losses = [float(p.train_step(batch, lr=0.1, step=1)["loss"]) for p in (compiled, plain)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    for role in ("parameters", "buffers", "slots"):
        found, expected = getattr(compiled, role), getattr(plain, role)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
