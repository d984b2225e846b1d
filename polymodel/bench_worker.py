"""The child process of polymodel.bench: loops of one framework, run block by block on command.

Commands are JSON lines on standard input, answers JSON lines on standard output:

    {"do": "modes", "backend": B, "model": M, "task": T}      -> {"modes": [...], "isolated": [...]}
    {"do": "open", "side": "polymodel"|"native", ...}         -> {"key": K, "mode", "first_step_s", "peak_mb"}
    {"do": "block", "key": K, "steps": n}                     -> {"ms": of a step, "cpu_ms", "other_cpu": share, "loss"}
    {"do": "close", "key": K}                                 -> {}
    {"do": "write", "backend": B, "model": M, "file": F}      -> {}; an imported model's ONNX file
    {"do": "import", "backend": B, "model": M, "file": F, ..} -> {"mode", "import_s", "first_s", "cpu_s", "peak_mb", ...}

Any of them may answer {"error": message, "kind": exception}. A block ends by reading the loss as a number, so that
asynchronous engines are charged in full. "file" is None for a reference model.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from polymodel import quiet
from polymodel.models.imported import IMPORTED

if TYPE_CHECKING:
    from polymodel.optim.base import Optimizer

Open: TypeAlias = Callable[[], tuple[Callable[[], Any], Callable[[Any], float]]]
"""Compiles, and returns a function that does one step and one that reads what a step returned as a number."""

BATCHES = 8
"""Distinct batches in memory; every step takes the next."""


def main() -> None:
    """Answer commands until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print goes to standard error
    server = Server()
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except Exception as error:  # a crash of one loop is a result of the benchmark
            answer = {"error": str(error) or repr(error), "kind": type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


@final
class Server:
    """The loops that are open."""

    def __init__(self) -> None:
        self._loops: dict[str, tuple[Callable[[], Any], Callable[[Any], float]]] = {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command."""
        do = command.pop("do")
        if do == "modes":
            loops = native_loops(command["backend"])
            table = loops.PREDICT_MODES if command["task"] == "predict" else loops.MODES
            modes = list(table[command["model"]])
            isolated = modes if command["model"] in IMPORTED else list(getattr(loops, "ISOLATED", ()))
            return {"modes": modes, "isolated": isolated}
        if do == "write":
            native_loops(command["backend"]).write_onnx(command["model"], command["file"])
            return {}
        if do == "import":
            return import_file(**command)
        if do == "open":
            return self._open(**command)
        if do == "block":
            return self._block(**command)
        self._loops.pop(command["key"], None)
        gc.collect()
        return {}

    def _open(
        self,
        side: str,
        backend: str,
        model: str,
        optimizer: str,
        mode: str,
        threads: int,
        device: str,
        task: str = "train",
        file: str | None = None,
    ) -> dict[str, Any]:
        key = f"{side}:{mode}"
        if side == "native":
            loops, batch = native_loops(backend), batch_size(model)
            start = time.perf_counter()
            step, read = (
                loops.build(model, mode, optimizer, batch, threads)
                if task == "train"
                else (loops.build_predict(model, mode, batch, threads), number)
            )
        else:
            if file is None:
                open_loop = polymodel_loop(backend, model, optimizer, mode, threads, device)
            elif task == "train":
                open_loop = trainer_loop(backend, model, file, optimizer, mode, threads, device)
            else:
                open_loop = predict_loop(backend, model, file, mode, threads, device)
            start = time.perf_counter()
            step, read = open_loop()
        read(step())
        first = time.perf_counter() - start
        for _ in range(2):
            read(step())
        self._loops[key] = (step, read)
        return {"key": key, "mode": mode, "first_step_s": first, "peak_mb": peak_mb()}

    def _block(self, key: str, steps: int) -> dict[str, Any]:
        step, read = self._loops[key]
        busy, own, start = quiet.busy_seconds(), quiet.own_seconds(), time.perf_counter()
        value = None
        for _ in range(steps):
            value = step()
        loss = read(value)
        wall = time.perf_counter() - start
        cpu = quiet.own_seconds() - own
        others = quiet.busy_seconds() - busy - cpu
        return {
            "ms": wall / steps * 1e3,
            "cpu_ms": cpu / steps * 1e3,
            "other_cpu": max(0.0, others) / wall / quiet.cores(),
            "loss": loss,
        }


def native_loops(backend: str) -> ModuleType:
    """The module of a backend's package that holds its hand-written loops."""
    from polymodel.registry import get_backend

    package = type(get_backend(backend)).__module__.partition(".")[0]
    return import_module(f"{package}.native_loops")


def batch_size(model: str) -> int:
    """Samples in a batch of a reference or imported model."""
    from polymodel.models import reference

    return IMPORTED[model].batch if model in IMPORTED else reference(model).batch


def number(logits: Any) -> float:
    """Something of an array, so that predictions are read like losses."""
    return float(logits.ravel()[0])


def polymodel_loop(backend: str, model: str, optimizer: str, mode: str, threads: int, device: str) -> Open:
    """What compiles a reference model into a step on fresh batches; the framework is imported, nothing is compiled."""
    from polymodel.models import reference
    from polymodel.options import CompileOptions, Training
    from polymodel.registry import get_backend

    engine = get_backend(backend)
    example = reference(model)
    update = rule(optimizer)
    graph, training_graph = example.model.graph, example.model.training_graph("cross_entropy")
    x, y = example.make_batch(BATCHES * example.batch)
    pieces = [slice(i * example.batch, (i + 1) * example.batch) for i in range(BATCHES)]

    def open_loop() -> tuple[Callable[[], Any], Callable[[Any], float]]:
        program = engine.compile(
            graph,
            device,
            training=Training(graph=training_graph, loss="loss", optimizer=update),
            options=CompileOptions(compile=mode, threads=threads),
        )
        count = 0

        def step() -> Any:
            nonlocal count
            piece = pieces[count % BATCHES]
            count += 1
            return program.train_step({"x": x[piece], "target": y[piece]}, lr=update.lr, step=count)

        def read(result: Any) -> float:
            program.synchronize()  # the last update belongs to the block that asked for it
            return float(result["loss"])

        return step, read

    return open_loop


def trainer_loop(backend: str, model: str, file: str, optimizer: str, mode: str, threads: int, device: str) -> Open:
    """What makes a Trainer of an ONNX file; the framework is imported, nothing is compiled."""
    from polymodel.model import Model
    from polymodel.options import CompileOptions
    from polymodel.registry import get_backend
    from polymodel.trainer import Trainer

    get_backend(backend)
    pieces = batches(model)

    def open_loop() -> tuple[Callable[[], Any], Callable[[Any], float]]:
        options = CompileOptions(compile=mode, threads=threads)
        trainer = Trainer(Model.from_onnx(file), "cross_entropy", rule(optimizer), backend=backend, device=device, options=options)
        count = 0

        def step() -> Any:
            nonlocal count
            count += 1
            return trainer.train_on_batch(*pieces[count % BATCHES])

        def read(result: Any) -> float:
            trainer.program.synchronize()  # the last update belongs to the block that asked for it
            return float(result["loss"])

        return step, read

    return open_loop


def predict_loop(backend: str, model: str, file: str, mode: str, threads: int, device: str) -> Open:
    """What compiles an ONNX file for predictions."""
    from polymodel.model import Model
    from polymodel.options import CompileOptions
    from polymodel.registry import compile, get_backend

    get_backend(backend)
    pieces = batches(model)

    def open_loop() -> tuple[Callable[[], Any], Callable[[Any], float]]:
        options = CompileOptions(compile=mode, threads=threads)
        program = compile(Model.from_onnx(file).graph, backend, device, options=options)
        count = 0

        def step() -> Any:
            nonlocal count
            count += 1
            return program.predict({"x": pieces[count % BATCHES][0]})["logits"]

        return step, number

    return open_loop


def import_file(backend: str, model: str, file: str, mode: str, threads: int, device: str, optimizer: str, task: str) -> dict[str, Any]:
    """From an ONNX file to its first prediction, once, in a process that has imported the framework and polymodel."""
    from polymodel.model import Model
    from polymodel.options import CompileOptions
    from polymodel.registry import compile, get_backend

    get_backend(backend)
    x = batches(model)[0][0]
    busy, start, cpu = quiet.busy_seconds(), time.perf_counter(), quiet.family_seconds()
    graph = Model.from_onnx(file).graph
    read = time.perf_counter()
    program = compile(graph, backend, device, options=CompileOptions(compile=mode, threads=threads))
    first = program.predict({"x": x})["logits"]
    wall = time.perf_counter() - start
    used = quiet.family_seconds() - cpu
    again = time.perf_counter()
    program.predict({"x": x})
    return {
        "mode": mode,
        "import_s": read - start,
        "first_s": wall,
        "cpu_s": used,
        "again_s": time.perf_counter() - again,
        "peak_mb": peak_mb(),
        "other_cpu": max(0.0, quiet.busy_seconds() - busy - used) / wall / quiet.cores(),
        "first": number(first),
    }


def batches(model: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets of the batches that a loop over an imported model goes round."""
    size = IMPORTED[model].batch
    x, y = IMPORTED[model].make_batch(BATCHES * size)
    return [(x[i * size : (i + 1) * size], y[i * size : (i + 1) * size]) for i in range(BATCHES)]


def rule(optimizer: str) -> Optimizer:
    """The update rule that all loops use."""
    from polymodel import optim

    return optim.SGD(0.01, momentum=0.9) if optimizer == "sgd" else optim.Adam(1e-3)


def peak_mb() -> float:
    """Largest resident size of this process so far, in MiB."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


if __name__ == "__main__":
    main()
