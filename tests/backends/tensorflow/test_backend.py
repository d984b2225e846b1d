"""backend.py, compat.py and dtypes.py: what can be asked for, and what is said when it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from polymodel.backend import Backend, CompileOptions
from polymodel.errors import ConfigError, DeviceUnavailable, Unsupported
from polymodel.graph import Graph
from polymodel.registry import get_backend
from polymodel.spec import TensorSpec
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.dtypes import native_dtype


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    kept = {n: v for n, v in os.environ.items() if n not in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**kept, **environment}
    )


@pytest.fixture
def plus_one(graph_of: Callable[..., Graph]) -> Graph:
    return graph_of(lambda b, x: {"y": x + 1.0}, x=TensorSpec((2,)))


def test_it_is_found_through_its_entry_point() -> None:
    found = get_backend("tensorflow")
    assert found.name == "tensorflow"
    assert found.versions()["tensorflow"] == tf.__version__
    assert found.devices()[0] == "cpu"
    assert found.capabilities().dtypes >= {"float32", "float64", "int64", "bool"}


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "CPU"])
def test_a_device_that_is_not_there(backend: Backend, plus_one: Graph, device: str) -> None:
    with pytest.raises(DeviceUnavailable, match=rf"{device}.*has cpu"):
        backend.compile(plus_one, device)


def test_auto_is_the_cpu_without_cuda(backend: Backend, plus_one: Graph) -> None:
    there = tf.config.list_physical_devices("GPU")
    assert backend.compile(plus_one).device == ("cuda:0" if there else "cpu")


def test_a_compiler_of_another_framework_is_refused(backend: Backend, plus_one: Graph) -> None:
    with pytest.raises(ConfigError, match=r"inductor.*native, xla"):
        backend.compile(plus_one, "cpu", options=CompileOptions(compile="inductor"))


def test_an_element_type_that_tensorflow_lacks() -> None:
    with pytest.raises(Unsupported, match=r"cannot hold float8e4m3fn; it holds bfloat16, bool"):
        native_dtype("float8e4m3fn")


def test_tf32_is_off(backend: Backend, plus_one: Graph) -> None:
    backend.compile(plus_one, "cpu")
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_the_package_alone_imports_no_framework() -> None:
    assert run("import sys, polymodel_tensorflow; print('tensorflow' in sys.modules)").stdout.strip() == "False"


def test_a_missing_framework_says_what_to_type() -> None:
    code = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "from polymodel.errors import BackendUnavailable\n"
        "import polymodel_tensorflow\n"
        "try: polymodel_tensorflow.load()\n"
        "except BackendUnavailable as error: print(error)\n"
    )
    assert "pip install" in run(code).stdout


def test_importing_and_running_says_nothing_but_errors_pass() -> None:
    code = (
        "import os, polymodel_tensorflow\n"
        "backend = polymodel_tensorflow.load()\n"
        "from polymodel_tensorflow.compat import start, tf, _without_chatter\n"
        "start(); tf.function(lambda x: x @ x)(tf.ones((2, 2)))\n"
        "with _without_chatter(): os.write(2, b'I0000 chatter\\nE0000 trouble\\n')\n"
    )
    assert run(code).stderr == "E0000 trouble\n"


def test_threads_come_from_the_environment_and_are_fixed_then() -> None:
    code = (
        "import polymodel_tensorflow\n"
        "from polymodel.errors import ConfigError\n"
        "from polymodel_tensorflow.compat import fix_threads, start, tf\n"
        "backend = polymodel_tensorflow.load()\n"
        "fix_threads(None); start(); print(backend.threads())\n"
        "fix_threads(3)\n"
        "try: fix_threads(2)\n"
        "except ConfigError as error: print(error)\n"
    )
    lines = run(code, TF_NUM_INTRAOP_THREADS="3", OMP_NUM_THREADS="5").stdout.splitlines()
    assert lines[0] == "3"
    assert "TF_NUM_INTRAOP_THREADS=2" in lines[1]


def test_deterministic_is_asked_of_tensorflow() -> None:
    code = (
        "import numpy as np, polymodel_tensorflow\n"
        "from polymodel.backend import CompileOptions\n"
        "from polymodel.builder import Builder\n"
        "from polymodel.spec import TensorSpec\n"
        "b = Builder()\n"
        "with b.active(): b.output('y', b.input('x', TensorSpec((2,))) + 1.0)\n"
        "backend = polymodel_tensorflow.load()\n"
        "program = backend.compile(b.finish(), 'cpu', options=CompileOptions(deterministic=True))\n"
        "print(program.predict({'x': np.zeros(2, np.float32)})['y'])\n"
        "from tensorflow.python.framework import config\n"
        "print(config.is_op_determinism_enabled())\n"
    )
    assert run(code).stdout.split() == ["[1.", "1.]", "True"]
