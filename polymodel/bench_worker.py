"""The child process of polymodel.bench: training loops of one framework, run block by block on command.

Commands are JSON lines on standard input, answers JSON lines on standard output:

    {"do": "modes", "backend": B, "model": M}                 -> {"modes": [...], "isolated": [...]}
    {"do": "open", "side": "polymodel"|"native", ...}         -> {"key": K, "mode", "first_step_s", "peak_mb"}
    {"do": "block", "key": K, "steps": n}                     -> {"ms": of a step, "other_cpu": share, "loss"}
    {"do": "close", "key": K}                                 -> {}

Any of them may answer {"error": message, "kind": exception}. A block ends by reading the loss as a number, so that
asynchronous engines are charged in full.
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
from typing import Any, final

from polymodel import quiet

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
            isolated = list(getattr(loops, "ISOLATED", ()))
            return {"modes": list(loops.MODES[command["model"]]), "isolated": isolated}
        if do == "open":
            return self._open(**command)
        if do == "block":
            return self._block(**command)
        self._loops.pop(command["key"], None)
        gc.collect()
        return {}

    def _open(
        self, side: str, backend: str, model: str, optimizer: str, mode: str, threads: int, device: str
    ) -> dict[str, Any]:
        from polymodel.models import reference

        key = f"{side}:{mode}"
        if side == "polymodel":
            open_loop = polymodel_loop(backend, model, optimizer, mode, threads, device)
            start = time.perf_counter()
            step, read = open_loop()
        else:
            batch = reference(model).batch
            start = time.perf_counter()
            step, read = native_loops(backend).build(model, mode, optimizer, batch, threads)
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
        others = quiet.busy_seconds() - busy - (quiet.own_seconds() - own)
        return {"ms": wall / steps * 1e3, "other_cpu": max(0.0, others) / wall / quiet.cores(), "loss": loss}


def native_loops(backend: str) -> ModuleType:
    """The module of a backend's package that holds its hand-written loops."""
    from polymodel.registry import get_backend

    package = type(get_backend(backend)).__module__.partition(".")[0]
    return import_module(f"{package}.native_loops")


def polymodel_loop(
    backend: str, model: str, optimizer: str, mode: str, threads: int, device: str
) -> Callable[[], tuple[Callable[[], Any], Callable[[Any], float]]]:
    """What compiles a reference model into a step on fresh batches; the framework is imported, nothing is compiled."""
    from polymodel import optim
    from polymodel.models import reference
    from polymodel.options import CompileOptions, Training
    from polymodel.registry import get_backend

    engine = get_backend(backend)
    example = reference(model)
    rule = optim.SGD(0.01, momentum=0.9) if optimizer == "sgd" else optim.Adam(1e-3)
    graph, training_graph = example.model.graph, example.model.training_graph("cross_entropy")
    x, y = example.make_batch(BATCHES * example.batch)
    pieces = [slice(i * example.batch, (i + 1) * example.batch) for i in range(BATCHES)]

    def open_loop() -> tuple[Callable[[], Any], Callable[[Any], float]]:
        program = engine.compile(
            graph,
            device,
            training=Training(graph=training_graph, loss="loss", optimizer=rule),
            options=CompileOptions(compile=mode, threads=threads),
        )
        count = 0

        def step() -> Any:
            nonlocal count
            piece = pieces[count % BATCHES]
            count += 1
            return program.train_step({"x": x[piece], "target": y[piece]}, lr=rule.lr, step=count)

        def read(result: Any) -> float:
            program.synchronize()  # the last update belongs to the block that asked for it
            return float(result["loss"])

        return step, read

    return open_loop


def peak_mb() -> float:
    """Largest resident size of this process so far, in MiB."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


if __name__ == "__main__":
    main()
