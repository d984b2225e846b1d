"""A backend in a process of its own: ``python -m polymodel_conformance.workers.worker BACKEND [DEVICE [THREADS]]``.

It reads jobs from standard input and answers on what was standard output when it started; whatever a framework prints goes to
standard error. One thread unless told otherwise, so that the bits of a result depend on the job alone.

A backend is not believed. Before values, derivatives and steps that are judged it is asked for those of other inputs of the same
shapes, so one that returns what it computed before, or what it computed for these shapes, is found out; a step is done from the
state that it is judged from. The judge's own oracle cannot be imported here.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from importlib.abc import MetaPathFinder
from typing import Any, final

import numpy as np
import onnx

from polymodel import random
from polymodel.backend import Backend, Program
from polymodel.bodies import BODIES
from polymodel.errors import Unsupported
from polymodel.host.turns import HOST_OPERATORS
from polymodel.options import CompileOptions, Training
from polymodel.registry import get_backend
from polymodel.training import checkpoint
from polymodel.training.accumulation import Accumulation
from polymodel_conformance import augmented
from polymodel_conformance.workers.jobs import unpack_graph, unpack_rule
from polymodel_conformance.workers.wire import Closed, Wire

_KEPT = 6  # compiled programs
_JUDGES = ("polymodel_conformance.oracle", "polymodel_conformance.tolerance.floor", "polymodel_conformance.cache")


def describe(backend: Backend) -> dict[str, Any]:
    """What the report says about a backend, and what it claims."""
    can, table = backend.capabilities(), backend.table
    host = {key for key in _standard() if (table.newest(*key).host if key in table else key in HOST_OPERATORS)}
    return {
        "name": backend.name,
        "versions": backend.versions(),
        "devices": list(backend.devices()),
        "dtypes": sorted(can.dtypes),
        "operators": sorted(list(key) for key in {*backend.table, *BODIES, *_defined(), *host}),
        "host": sorted(list(key) for key in host),
        "notes": list(can.notes),
        "tf32": can.tf32,
        "cuda_note": can.cuda_note,
        "cuda_architectures": can.cuda_architectures,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }


def _standard() -> dict[tuple[str, str], Any]:
    """The operators of the standard."""
    return {(s.domain, s.name): s for s in onnx.defs.get_all_schemas() if s.domain == ""}


def _defined() -> set[tuple[str, str]]:
    """Operators that the standard defines by others; a backend without a rule for one runs these."""
    return {key for key, s in _standard().items() if s.has_function or s.has_context_dependent_function}


def main() -> None:
    """Serve one connection."""
    sys.meta_path.insert(0, _NoOracle())
    wire = Wire(0, os.dup(1))
    os.dup2(2, 1)
    try:
        backend = get_backend(sys.argv[1])
        wire.send({"status": "ready", **describe(backend)}, {})
    except Exception as error:  # the runner reports it; a worker never dies of a backend that does not load
        wire.send({"status": "error", "error": type(error).__name__, "message": str(error)}, {})
        return
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    programs: OrderedDict[str, Program] = OrderedDict()
    while True:
        try:
            header, arrays = wire.receive()
        except Closed:
            return
        try:
            if header["key"] not in programs and "graph" not in header:
                wire.send({"status": "need"}, {})
                continue
            program = _program(backend, device, threads, programs, header, arrays)
            info, results = perform(program, header, arrays)
            wire.send({"status": "done", **info}, results)
        except Unsupported as error:
            status = "unclaimed" if backend.capabilities().partial else "error"
            wire.send({"status": status, "error": "Unsupported", "message": str(error)}, {})
        except Exception as error:
            text = traceback.format_exc(limit=-8)
            wire.send({"status": "error", "error": type(error).__name__, "message": str(error), "trace": text}, {})


def _program(
    backend: Backend,
    device: str,
    threads: int,
    programs: OrderedDict[str, Program],
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> Program:
    key = header["key"]
    if key not in programs:
        programs[key] = program_for(backend, device, header, arrays, threads)
        while len(programs) > _KEPT:
            programs.popitem(last=False)
    programs.move_to_end(key)
    return programs[key]


def program_for(
    backend: Backend, device: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], threads: int = 1
) -> Program:
    """Compile what a complete request asks for."""
    training = None
    if header.get("training"):
        packed = header["training"]
        training = Training(
            graph=unpack_graph("training", packed["graph"], arrays),
            loss=packed["loss"],
            optimizer=unpack_rule(packed["optimizer"]),
            metrics=tuple(packed["metrics"]),
            clip=unpack_rule(packed["clip"]) if packed["clip"] else None,
            scaling=unpack_rule(packed["scaling"]) if packed["scaling"] else None,
            accumulate=Accumulation(packed["parts"]) if packed["parts"] else None,
        )
    asked = header["options"]
    options = CompileOptions(threads=threads, seed=asked.get("seed", 0), tf32=asked.get("tf32", False))
    graph = unpack_graph("graph", header["graph"], arrays)
    several = replicas(backend, device, asked["devices"]) if "devices" in asked else None
    return backend.compile(graph, device, devices=several, training=training, options=options)


def replicas(backend: Backend, device: str, count: int) -> list[str]:
    """So many devices: of the kind of one, as far as there are, and then the processor under several names."""
    like = [d for d in backend.devices() if d.startswith("cuda")] if device.startswith("cuda") else []
    return [*like, *(f"cpu:{i}" for i in range(count))][:count]


def _group(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def perform(
    program: Program, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Do one job."""
    options, feeds = header["options"], _group(arrays, "feed/")
    match header["verb"]:
        case "predict":
            other = decoy(feeds)
            if other is not None:
                with suppress(Exception):  # of its own inputs a backend has to complain again
                    program.predict(other, options.get("outputs"))
            return {}, _whole(program, options, program.predict(feeds, options.get("outputs")))
        case "gradients":
            cotangents = _group(arrays, "cotangent/")
            other, turned = decoy(feeds), decoy(cotangents)
            if other is not None or turned is not None:
                with suppress(Exception):
                    program.gradients(other or feeds, turned or cotangents, options["wrt"])
            return {}, _whole(program, options, program.gradients(feeds, cotangents, options["wrt"]))
        case "step":
            _assign(program, arrays)
            other = decoy(feeds)
            if other is not None:
                before = arrays if any(n.startswith("parameters/") for n in arrays) else state(program)
                with suppress(Exception):
                    program.train_step(other, lr=options["lr"], step=options["step"])
                _assign(program, before)
            scalars = program.train_step(feeds, lr=options["lr"], step=options["step"])
            read = {n: np.float64(float(v)) for n, v in scalars.items()}
            return {}, {**{f"scalar/{n}": np.asarray(v) for n, v in read.items()}, **state(program)}
        case "state":
            return {}, state(program)
        case "random":
            return {}, {
                "permutation": random.permutation(3, 2, 101),
                "mask": random.mask(1, "layer.mask", 5, (9, 11), 0.25),
                "normal": random.generator(0, "init", "w").standard_normal(50),
            }
        case "augmented":
            return {}, augmented.batches()
        case "save":
            _assign(program, arrays)
            kept = state(program)
            checkpoint.Checkpoint(
                parameters=_group(kept, "parameters/"),
                buffers=_group(kept, "buffers/"),
                slots=_group(kept, "slots/"),
                record={"step": options["step"]},
            ).save(options["path"])
            return {}, kept
        case "load":
            found = checkpoint.load(options["path"])
            program.parameters, program.buffers = dict(found.parameters), dict(found.buffers)
            program.slots = dict(found.slots)
            return {}, state(program)
        case verb:
            raise ValueError(f"unknown job {verb!r}")


def _whole(program: Program, options: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What was computed. Cases that are asked as one have to be of one program: a call of the host would split that of all."""
    if options.get("whole") and program.host_operators:
        raise ValueError(f"{', '.join(program.host_operators)} ran on the host")
    return dict(found)


def decoy(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Other inputs: the same numbers in other places. None where that changes nothing.

    Integers and short vectors stay, for they may be settings (places, sizes, scales).
    """
    floats = {n for n, a in feeds.items() if a.dtype.kind == "f" or a.dtype.name == "bfloat16"}
    found = {n: _reversed(a) if n in floats and (a.ndim > 1 or a.size > 16) else a for n, a in feeds.items()}
    return None if all(found[n].tobytes() == a.tobytes() for n, a in feeds.items() if n in floats) else found


def _reversed(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.reshape(-1)[::-1]).reshape(array.shape)


@final
class _NoOracle(MetaPathFinder):
    """Refuses to import what judges."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Nothing, or ImportError."""
        if fullname.startswith(_JUDGES):
            raise ImportError(f"{fullname} judges backends: one that is being judged cannot import it")


def state(program: Program) -> dict[str, np.ndarray]:
    """Everything that a step changes."""
    return {
        **{f"parameters/{n}": a for n, a in program.parameters.items()},
        **{f"buffers/{n}": a for n, a in program.buffers.items()},
        **{f"slots/{n}": a for n, a in program.slots.items()},
    }


def _assign(program: Program, arrays: Mapping[str, np.ndarray]) -> None:
    for role in ("parameters", "buffers", "slots"):
        values = _group(arrays, f"{role}/")
        if values:
            setattr(program, role, values)


if __name__ == "__main__":
    main()
