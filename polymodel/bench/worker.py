"""The child process of polymodel.bench.run: loops of one framework, run block by block on command.

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
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from polymodel.bench import quiet
from polymodel.models.imported import IMPORTED

if TYPE_CHECKING:
    from polymodel.optim.base import Optimizer

Loop: TypeAlias = tuple[Callable[[int], Any], Callable[[Any], float]]
"""A function that does a number of steps, and one that reads what it returned as a number."""
Open: TypeAlias = Callable[[], Loop]
"""Compiles, and returns the loop."""

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
        self._loops: dict[str, Loop] = {}

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
            steps, read = (
                repeated(*loops.build(model, mode, optimizer, batch, threads))
                if task != "predict"
                else repeated(loops.build_predict(model, mode, batch, threads), number)
            )
        else:
            if task == "fit":
                open_loop = fit_loop(backend, model, optimizer, mode, threads, device)
            elif file is None:
                open_loop = polymodel_loop(backend, model, optimizer, mode, threads, device)
            elif task == "train":
                open_loop = trainer_loop(backend, model, file, optimizer, mode, threads, device)
            else:
                open_loop = predict_loop(backend, model, file, mode, threads, device)
            start = time.perf_counter()
            steps, read = open_loop()
        read(steps(1))
        first = time.perf_counter() - start
        for _ in range(2):
            read(steps(1))
        self._loops[key] = (steps, read)
        return {"key": key, "mode": mode, "first_step_s": first, "peak_mb": peak_mb()}

    def _block(self, key: str, steps: int) -> dict[str, Any]:
        advance, read = self._loops[key]
        busy, own, start = quiet.busy_seconds(), quiet.own_seconds(), time.perf_counter()
        loss = read(advance(steps))
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


def repeated(step: Callable[[], Any], read: Callable[[Any], float]) -> Loop:
    """The loop that does one step after the other."""

    def steps(count: int) -> Any:
        value = None
        for _ in range(count):
            value = step()
        return value

    return steps, read


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

    def open_loop() -> Loop:
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

        return repeated(step, read)

    return open_loop


def fit_loop(backend: str, model: str, optimizer: str, mode: str, threads: int, device: str) -> Open:
    """What makes a Trainer.fit of a reference model as people run it: accuracy, callbacks, and a loader that shuffles, cuts and
    converts the batches ahead. A block is an epoch of as many steps."""
    from polymodel import callbacks
    from polymodel.data import ArrayDataset, Loader
    from polymodel.models import reference
    from polymodel.options import CompileOptions
    from polymodel.registry import get_backend
    from polymodel.training.trainer import Trainer

    get_backend(backend)
    example = reference(model)
    x, y = example.make_batch(8 * BATCHES * example.batch)
    loader = Loader(ArrayDataset(x, y), example.batch, shuffle=True)
    lines: list[str] = []

    def endless(epoch: int) -> Iterator[Any]:
        return itertools.chain.from_iterable(loader.batches(number, seed=epoch) for number in itertools.count())

    def open_loop() -> Loop:
        options = CompileOptions(compile=mode, threads=threads)
        trainer = Trainer(
            example.model, "cross_entropy", rule(optimizer), ["accuracy"], backend=backend, device=device, options=options
        )

        def steps(count: int) -> Any:
            along = [callbacks.Timing(), callbacks.StepLines(lines.append, 50), callbacks.TerminateOnNaN()]
            return trainer.fit(endless, epochs=1, steps_per_epoch=count, callbacks=along, progress=False)

        def read(history: Any) -> float:
            trainer.program.synchronize()  # the last update belongs to the block that asked for it
            return float(history["loss"][-1])

        return steps, read

    return open_loop


def trainer_loop(backend: str, model: str, file: str, optimizer: str, mode: str, threads: int, device: str) -> Open:
    """What makes a Trainer of an ONNX file; the framework is imported, nothing is compiled."""
    from polymodel.model import Model
    from polymodel.options import CompileOptions
    from polymodel.registry import get_backend
    from polymodel.training.trainer import Trainer

    get_backend(backend)
    pieces = batches(model)

    def open_loop() -> Loop:
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

        return repeated(step, read)

    return open_loop


def predict_loop(backend: str, model: str, file: str, mode: str, threads: int, device: str) -> Open:
    """What compiles an ONNX file for predictions."""
    from polymodel.model import Model
    from polymodel.options import CompileOptions
    from polymodel.registry import compile, get_backend

    get_backend(backend)
    pieces = batches(model)

    def open_loop() -> Loop:
        options = CompileOptions(compile=mode, threads=threads)
        program = compile(Model.from_onnx(file).graph, backend, device, options=options)
        count = 0

        def step() -> Any:
            nonlocal count
            count += 1
            return program.predict({"x": pieces[count % BATCHES][0]})["logits"]

        return repeated(step, number)

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
