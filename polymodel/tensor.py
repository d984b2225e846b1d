"""A tensor that does not exist yet: what layers pass around while a graph is being built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import onnx_ir as ir

from polymodel.spec import Dim, TensorSpec, spec_of


class Operand(ABC):
    """What an operator takes: a Tensor, or a parameter or buffer of a module. Arithmetic on it calls ONNX operators."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy leaves `array + tensor` to us
    __hash__ = None  # type: ignore[assignment]

    @abstractmethod
    def tensor(self) -> Tensor:
        """The value in the graph being built."""

    @property
    @abstractmethod
    def spec(self) -> TensorSpec:
        """Sizes and element type."""

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Sizes: numbers, or names where a size is unknown."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """NumPy-style element type name."""
        return self.spec.dtype

    @property
    def rank(self) -> int:
        """Number of axes."""
        return self.spec.rank

    def __add__(self, other: Any) -> Tensor:
        return _op("Add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _op("Add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _op("Sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _op("Sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _op("Mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _op("Mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _op("Div", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _op("Div", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _op("Pow", self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return _op("MatMul", self, other)

    def __neg__(self) -> Tensor:
        return _op("Neg", self)

    def __lt__(self, other: Any) -> Tensor:
        return _op("Less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return _op("LessOrEqual", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _op("Greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _op("GreaterOrEqual", self, other)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return _op("Equal", self, other)

    def __bool__(self) -> bool:
        raise TypeError("a tensor of a graph being built has no truth value: use nn.functional.where")

    def __getitem__(self, index: Any) -> Tensor:
        from polymodel.nn.indexing import getitem

        return getitem(self, index)


@final
class Tensor(Operand):
    """A value of the graph being built.

    Attributes:
        value: the onnx-ir value.
    """

    __slots__ = ("value",)

    def __init__(self, value: ir.Value) -> None:
        self.value = value

    def tensor(self) -> Tensor:
        """Itself."""
        return self

    @property
    def spec(self) -> TensorSpec:
        """Sizes and element type."""
        return spec_of(self.value)

    def __repr__(self) -> str:
        return f"Tensor({self.value.name!r}, {self.spec})"


def _op(op_type: str, *inputs: Any) -> Tensor:
    from polymodel.builder import current_builder

    return current_builder().op(op_type, *inputs)
