"""What goes between programs on several devices: traced functions of the variables of all of them.

Each variable is read and written on its own device; TensorFlow copies what one needs of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from polymodel.spec import TensorSpec
from polymodel_tensorflow.compat import tf

if TYPE_CHECKING:
    from polymodel_tensorflow.program import TensorFlowProgram


def hand(first: TensorFlowProgram, others: Sequence[TensorFlowProgram]) -> None:
    """Overwrite parameters and buffers of others; variables that they share stay."""

    def body() -> None:
        for role in ("parameters", "buffers"):
            for name, own in first.variables[role].items():
                targets = [t for p in others if (t := p.variables[role][name]) is not own]
                value = _read(own) if targets else None
                for target in targets:
                    _assign(target, value)

    if others:
        _traced(first, "hand", others, body)()


def collect(first: TensorFlowProgram, others: Sequence[TensorFlowProgram]) -> None:
    """Add the gathered gradients of others, and make theirs zero."""

    def body() -> None:
        held = [p.sums() for p in others]
        for name, own in first.sums().items():
            total = _read(own)
            for sums in held:
                total = total + _read(sums[name])
                _assign(sums[name], tf.zeros(own.shape, own.dtype))
            _assign(own, total)

    _traced(first, "collect", others, body)()


def average(first: TensorFlowProgram, others: Sequence[TensorFlowProgram], shares: Sequence[float]) -> None:
    """Average the buffers that a step changes, into the first's."""
    assert first.training is not None
    programs = (first, *others)
    moved = [n for n in first.training.graph.updates if first.variables["buffers"][n].dtype.is_floating]

    def body(given: Any) -> None:
        for name in moved:
            buffers = [p.variables["buffers"][name] for p in programs]
            parts = zip(buffers, tf.unstack(given), strict=True)
            _assign(buffers[0], tf.add_n([_read(b) * tf.cast(s, b.dtype) for b, s in parts]))

    if moved:
        _traced(first, "average", others, body, TensorSpec((len(shares),), "float64"))(tf.constant(shares, tf.float64))


def _traced(
    first: TensorFlowProgram, what: str, others: Sequence[TensorFlowProgram], body: Callable[..., None], *specs: TensorSpec
) -> Callable[..., Any]:
    key = (what, *others)
    if key not in first.between:

        def function(*given: Any) -> list[Any]:
            body(*given)
            return [tf.constant(True)]

        first.between[key] = first.trace(function, specs, jit=False)
    return first.between[key]


def _read(variable: Any) -> Any:
    with tf.device(variable.device):
        return variable.read_value()


def _assign(variable: Any, value: Any) -> None:
    with tf.device(variable.device):
        variable.assign(value, read_value=False)
