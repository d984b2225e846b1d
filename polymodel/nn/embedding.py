"""The look-up table."""

from __future__ import annotations

from typing import final

from polymodel.errors import DtypeError
from polymodel.nn import functional as F
from polymodel.nn import init
from polymodel.nn.module import Module
from polymodel.nn.parameter import Parameter
from polymodel.tensor import Operand, Tensor


@final
class Embedding(Module):
    """Rows of a learned table: (...) of int32 or int64 -> (..., embedding_dim).

    Parameter `weight` (num_embeddings, embedding_dim), standard normal as torch.nn.Embedding documents it.

    Example:
        >>> from polymodel import Model, TensorSpec
        >>> print(Model(Embedding(100, 8), {"x": TensorSpec(("batch", 5), "int64")}, ["y"]).graph.specs["y"])
        float32[batch, 5, 8]
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, dtype: str = "float32") -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter((num_embeddings, embedding_dim), init.normal(), dtype)

    def forward(self, indices: Operand) -> Tensor:
        """Indices in [0, num_embeddings)."""
        if indices.dtype not in ("int32", "int64"):
            raise DtypeError(f"expected indices of int32 or int64, received {indices.spec}")
        return F.embedding(indices, self.weight)
