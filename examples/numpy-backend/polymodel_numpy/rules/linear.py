"""Products of matrices."""

from typing import Any

import numpy as np

from polymodel.plan import Node
from polymodel_numpy.rules.table import TABLE


@TABLE.rule("MatMul", since=13)
def matmul(node: Node, a: Any, b: Any) -> Any:
    def pull(g: Any) -> Any:
        rows, columns = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
        g = g.reshape((*np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2]), rows.shape[-2], columns.shape[-1]))
        by_b = np.swapaxes(rows, -1, -2) @ g
        return g @ np.swapaxes(columns, -1, -2), by_b[..., 0] if b.ndim == 1 else by_b

    return a @ b, pull


@TABLE.rule("Gemm", since=13)
def gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    alpha, beta = (np.asarray(node.attr(n), a.dtype) for n in ("alpha", "beta"))
    turned_a, turned_b = bool(node.attr("transA")), bool(node.attr("transB"))
    rows, columns = (a.T if turned_a else a), (b.T if turned_b else b)
    y = alpha * (rows @ columns)

    def pull(g: Any) -> Any:
        by_rows, by_columns = alpha * (g @ columns.T), alpha * (rows.T @ g)
        return (by_rows.T if turned_a else by_rows), (by_columns.T if turned_b else by_columns), beta * g

    return y if c is None else y + beta * c, pull
