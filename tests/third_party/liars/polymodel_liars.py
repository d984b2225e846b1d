"""Backends that misbehave: the NumPy example, spoiled in one way each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
from polymodel_numpy.backend import NumpyBackend
from polymodel_numpy.program import NumpyProgram

from polymodel.backend import Arrays, Backend, Capabilities, CompileOptions, Program, Training
from polymodel.graph import Graph
from polymodel.plan import Plan

Feeds = Mapping[str, np.ndarray]
Predict = Callable[[Feeds], Arrays]
Wrap = Callable[[Predict, Plan], Predict]

HOARD = 3 * 2**30
"""Bytes that the glutton takes where nobody stops it."""


@final
class Liar(Backend):
    """Predicts, differentiates and steps through a wrapper."""

    table = NumpyBackend.table

    def __init__(
        self, name: str, predict: Wrap | None = None, step: Callable[[Any], Any] | None = None,
        gradients: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name
        self._predict, self._step, self._gradients, self._honest = predict, step, gradients, NumpyBackend()

    def versions(self) -> dict[str, str]:
        return self._honest.versions()

    def devices(self) -> tuple[str, ...]:
        return self._honest.devices()

    def capabilities(self) -> Capabilities:
        return self._honest.capabilities()

    def threads(self) -> int:
        return 1

    def _compile(self, graph: Graph, device: str, training: Training | None, options: CompileOptions) -> Program:
        program: Any = NumpyProgram(self, graph, device, training, options)
        if (wrap := self._predict) is not None:
            honest = program._compile_predict
            program._compile_predict = lambda plan: wrap(honest(plan), plan)
        if (differ := self._gradients) is not None:
            derive = program._compile_gradients
            program._compile_gradients = lambda plan, wrt: differ(derive(plan, wrt))
        if (change := self._step) is not None:
            step = program._compile_step
            program._compile_step = lambda plan, training: change(step(plan, training))
        return program  # type: ignore[no-any-return]


def _at_relu(name: str, misbehave: Callable[[Arrays], Arrays]) -> Liar:
    """Honest until it meets a Relu."""

    def wrap(run: Predict, plan: Plan) -> Predict:
        bad = any(n.op_type == "Relu" for n in plan.nodes)
        return (lambda feeds: misbehave(run(feeds))) if bad else run

    return Liar(name, wrap)


def crash() -> Liar:
    """Dies."""

    def die(answer: Arrays) -> Arrays:
        os.kill(os.getpid(), signal.SIGSEGV)
        return answer

    return _at_relu("crash", die)


def hang() -> Liar:
    """Never answers."""

    def sleep(answer: Arrays) -> Arrays:
        time.sleep(3600)
        return answer

    return _at_relu("hang", sleep)


def glutton() -> Liar:
    """Takes more and more memory, and then gives the right answer."""

    def eat(answer: Arrays) -> Arrays:
        held = [np.ones(2**24, np.uint8) for _ in range(HOARD // 2**24)]
        return answer if held else {}

    return _at_relu("glutton", eat)


def shape() -> Liar:
    """One axis too many."""
    return _at_relu("shape", lambda answer: {n: a[None] for n, a in answer.items()})


def dtype() -> Liar:
    """float64 for float32."""
    return _at_relu("dtype", lambda answer: {n: a.astype(np.float64) for n, a in answer.items()})


def nan() -> Liar:
    """One NaN."""

    def spoil(answer: Arrays) -> Arrays:
        for a in answer.values():
            a.reshape(-1)[-1:] = np.nan
        return answer

    return _at_relu("nan", spoil)


def empty() -> Liar:
    """Reports success without an answer."""
    return _at_relu("empty", lambda answer: {})


def late() -> Liar:
    """Gives the answer to the question before."""

    def wrap(run: Predict, plan: Plan) -> Predict:
        before: list[Arrays] = []

        def predict(feeds: Feeds) -> Arrays:
            before.append(run(feeds))
            return before[max(0, len(before) - 2)]

        return predict

    return Liar("late", wrap)


def memo() -> Liar:
    """Keeps its answers by the shapes of the inputs."""

    def wrap(run: Predict, plan: Plan) -> Predict:
        kept: dict[Any, Arrays] = {}

        def predict(feeds: Feeds) -> Arrays:
            key = tuple((n, a.shape) for n, a in feeds.items())
            if key not in kept:
                kept[key] = run(feeds)
            return kept[key]

        return predict

    return Liar("memo", wrap)


def cribber() -> Liar:
    """Lets the judge's oracle compute."""

    def wrap(run: Predict, plan: Plan) -> Predict:
        def predict(feeds: Feeds) -> Arrays:
            from polymodel_conformance.oracle import evaluate

            found = evaluate(plan, feeds, record=False)
            return {n: found.values[n].array.astype(np.float32) for n in plan.outputs}

        return predict

    return Liar("cribber", wrap)


def idle() -> Liar:
    """Reports steps that it does not do: the loss of the batch is right, nothing is trained."""

    def skip(step: Any) -> Any:
        return lambda feeds, scalars: step(feeds, {**scalars, "lr": 0.0, "step_size": 0.0})

    return Liar("idle", None, skip)


def first_gradients() -> Liar:
    """Keeps the first derivatives that it computes of a graph."""

    def keep(run: Any) -> Any:
        kept: list[Arrays] = []

        def gradients(feeds: Feeds, cotangents: Feeds) -> Arrays:
            if not kept:
                kept.append(run(feeds, cotangents))
            return kept[0]

        return gradients

    return Liar("first_gradients", gradients=keep)


def first_step() -> Liar:
    """Does the first step of a graph and reports it again for every later one."""

    def once(step: Any) -> Any:
        done: list[Any] = []

        def first(feeds: Feeds, scalars: Any) -> Any:
            if not done:
                done.append(step(feeds, scalars))
            return done[0]

        return first

    return Liar("first_step", step=once)
