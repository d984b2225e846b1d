"""The runner's side of a worker: starts it, sends jobs, and turns a crash or a hang into a result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import psutil

from polymodel_conformance.workers.jobs import Job, pack_job
from polymodel_conformance.workers.wire import Closed, Garbled, Late, Wire

START_TIMEOUT = 180.0
MEMORY = 8 * 2.0**30
"""Bytes that a worker may hold: far more than any case of the suite needs."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MXNET_OMP_MAX_THREADS")
_SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
    "CUDA_VISIBLE_DEVICES": "",
}


def surroundings(threads: int = 1, cuda: bool = False) -> dict[str, str]:
    """The environment of a process that computes: so many threads for an operator, CUDA devices only where they are wanted."""
    found = {**os.environ, **_SETTINGS, **dict.fromkeys(_THREADS, str(threads))}
    if cuda:
        found.pop("CUDA_VISIBLE_DEVICES")
        found.update({n: v for n, v in os.environ.items() if n == "CUDA_VISIBLE_DEVICES"})
    return found


@final
class Unavailable(Exception):
    """A backend that does not load; the message says why and what to type."""


@final
class TooLarge(Exception):
    """A worker that holds more memory than it may; the message says how much."""


@final
@dataclass(frozen=True)
class Place:
    """A process of a backend, by what is peculiar to it.

    Attributes:
        device: where its programs run; None for the device of the run.
        threads: of one operator.
        process: tells processes apart that are alike otherwise; 0 is the one that does what nothing else is said of.
    """

    device: str | None = None
    threads: int = 1
    process: int = 0


HERE = Place()


@final
@dataclass(frozen=True)
class Answer:
    """What came of a job.

    Attributes:
        status: "done", "error", "crash", or "unclaimed" where a backend that is partial lacks what the job needs.
        arrays: results of a job that was done.
        error: class of the exception; of a crash "crash", "hang", "memory" or "garbled".
        message: what it said.
        trace: where.
    """

    status: str
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    error: str = ""
    message: str = ""
    trace: str = ""


@final
class Worker:
    """One backend in its own process, started on first use and again after it died.

    Args:
        backend: registered name.
        python: interpreter to run it with; this one when None.
        device: "cpu", "cuda:0", ...
        timeout: seconds that one job may take.
        module: what the process runs.
        memory: bytes that the process may hold.
        threads: of one operator.
    """

    def __init__(
        self, backend: str, python: str | None = None, device: str = "cpu", timeout: float = 300.0,
        module: str = "polymodel_conformance.workers.worker", memory: float = MEMORY, threads: int = 1,
    ) -> None:
        self.backend = backend
        self.memory = memory
        self._module = module
        self.device = device
        self.timeout = timeout
        self.threads = threads
        self.restarts = 0
        self._others: dict[Place, Worker] = {}
        self._python = python or sys.executable
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self._sent: set[str] = set()
        self._spent = 0.0  # by processes that are gone
        self._lock = threading.RLock()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self.about: dict[str, Any] = {}

    def start(self) -> dict[str, Any]:
        """Start the process.

        Returns:
            What the backend says about itself.

        Raises:
            Unavailable: it does not load.
        """
        with self._lock:
            if self._process is not None:
                return self.about
            command = [self._python, "-m", self._module, self.backend, self.device, str(self.threads)]
            environment = surroundings(self.threads, self.device != "cpu")
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment
                )
            except OSError as error:
                raise Unavailable(f"cannot start {self._python}: {error}") from None
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._wire = Wire(self._process.stdout.fileno(), self._process.stdin.fileno())
            self._sent = set()
            try:
                header, _ = self._wire.receive(START_TIMEOUT)
            except (Closed, Late):
                text = self._died()
                raise Unavailable(f"the worker of {self.backend!r} did not start: {text}") from None
            if header["status"] != "ready":
                self.stop()
                raise Unavailable(header["message"])
            self.about = {k: v for k, v in header.items() if k != "status"}
            return self.about

    def at(self, place: Place) -> Worker:
        """The same backend in another process: made when it is first asked for, and closed with this one."""
        if place.device == self.device:
            place = replace(place, device=None)
        if place == HERE:
            return self
        with self._lock:
            if place not in self._others:
                device = place.device or self.device
                self._others[place] = Worker(
                    self.backend, self._python, device, self.timeout, self._module, self.memory, place.threads
                )
            return self._others[place]

    @property
    def process_id(self) -> int | None:
        """Of the process that runs now."""
        return None if self._process is None else self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """Processor time that its processes have used so far, those of `at` among them."""
        return self._spent + _processor_time(self.process_id) + sum(other.cpu_seconds for other in list(self._others.values()))

    def call(self, job: Job, within: float | None = None) -> Answer:
        """Do a job. A worker that dies, does not answer or takes too much memory is stopped, and the job gets the blame.

        Args:
            job: what to do.
            within: seconds that are left for it; `timeout` when None.
        """
        seconds = self.timeout if within is None else within
        with self._lock:
            try:
                self.start()
            except Unavailable as error:
                return Answer("crash", error="Unavailable", message=str(error))
            assert self._wire is not None
            try:
                header, arrays = self._exchange(self._wire, job, seconds)
            except Closed:
                return Answer("crash", error="crash", message=self._died())
            except Late:
                return self._stopped("hang", f"no answer within {seconds:.3g} s")
            except TooLarge as error:
                return self._stopped("memory", str(error))
            except Garbled as error:
                return self._stopped("garbled", f"the worker sent {error}")
            if header["status"] == "done":
                return Answer("done", arrays)
            return Answer(header["status"], {}, header["error"], header["message"], header.get("trace", ""))

    def _stopped(self, error: str, message: str) -> Answer:
        self.stop()
        self.restarts += 1
        return Answer("crash", error=error, message=message)

    def _exchange(self, wire: Wire, job: Job, seconds: float) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        key = job.key
        watch = self._watch()
        header: dict[str, Any] = {"verb": job.verb, "key": key, "options": dict(job.options)}
        if key in self._sent:
            wire.send(header, job.arrays, seconds)
            reply, arrays = wire.receive(seconds, watch, self.memory)
            if reply["status"] != "need":
                return reply, arrays
        full, extra = pack_job(job)
        wire.send(full, {**job.arrays, **extra}, seconds)
        self._sent.add(key)
        return wire.receive(seconds, watch, self.memory)

    def _watch(self) -> Callable[[], None]:
        """Looks at the memory that the process holds."""
        assert self._process is not None
        process = psutil.Process(self._process.pid)

        def watch() -> None:
            try:
                held = process.memory_info().rss
            except psutil.Error:
                return  # it is gone, which the wire says
            if held > self.memory:
                raise TooLarge(f"the worker held {held / 2**30:.3g} GiB, {self.memory / 2**30:.3g} GiB are allowed")

        return watch

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            process, self._process, self._wire = self._process, None, None
            if process is None:
                return
            if process.poll() is None:
                self._spent += _processor_time(process.pid)
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def close(self) -> None:
        """End the process for good, and all that `at` made."""
        for other in self._others.values():
            other.close()
        self.stop()
        self._log.close()

    def _died(self) -> str:
        """Why the process is gone, with the end of what it printed."""
        process = self._process
        assert process is not None
        try:
            code = process.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        self.stop()
        self.restarts += 1
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        tail = self._log.read().decode(errors="replace").strip()
        what = "stopped" if code is None else signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"{what}; last output: {tail[-1500:] or 'none'}"


def _processor_time(process_id: int | None) -> float:
    """Seconds of a process; none where it is gone."""
    try:
        spent = None if process_id is None else psutil.Process(process_id).cpu_times()
    except psutil.Error:
        return 0.0
    return 0.0 if spent is None else float(spent.user + spent.system)
