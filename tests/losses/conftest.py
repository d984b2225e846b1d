"""A loss as a program of a backend: its value and the derivative by the output."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import polymodel as pm
from polymodel.builder import Builder
from polymodel.losses import Loss
from polymodel.spec import TensorSpec
from tests.installed import NAMES, installed

Run = Callable[..., tuple[float, np.ndarray]]


@pytest.fixture(params=NAMES)
def run(request: pytest.FixtureRequest) -> Run:
    """run(loss, output, target, weight=None) -> value and derivative by the output, on one backend."""
    name = installed(str(request.param))

    made: dict[str, pm.Program] = {}

    def compiled(loss: Loss, output: np.ndarray, weight: np.ndarray | None) -> pm.Program:
        b = Builder()
        with b.active():
            x = b.input("x", TensorSpec(("batch", *output.shape[1:]), output.dtype.name))
            t = b.input("t", loss.target(x.spec))
            w = None if weight is None else b.input("w", TensorSpec(("batch",), weight.dtype.name))
            b.output("loss", loss.build(b, x, t, w))
        return pm.compile(b.finish(), name, "cpu")

    def value_and_derivative(
        loss: Loss, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        key = f"{loss} {output.shape[1:]} {weight is None}"
        program = made[key] = made.get(key) or compiled(loss, output, weight)
        feeds = {"x": output, "t": target, **({} if weight is None else {"w": weight})}
        value = program.predict(feeds)["loss"]
        assert value.shape == ()
        found = program.gradients(feeds, {"loss": np.ones((), output.dtype)}, ["x"])["x"]
        return float(value), found

    return value_and_derivative
