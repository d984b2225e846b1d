"""Products of matrices."""

from __future__ import annotations

from typing import Any

from polymodel.cofactors import LARGEST, minors
from polymodel.plan import Node
from polymodel_tensorflow.compat import tf, xla_kept
from polymodel_tensorflow.rules.table import INSIDE_XLA, TABLE, sizes

_PRODUCT_TYPES = frozenset({"float16", "bfloat16", "float32", "float64", "int32", "int64", "complex64", "complex128"})


def _in_product_type(node: Node, *values: Any) -> tuple[Any, ...]:
    """Operands in a type whose products TensorFlow has; exact for integers, whose overflow wraps in the same way."""
    if node.dtype() in _PRODUCT_TYPES:
        return values
    return tuple(tf.cast(v, tf.int64) for v in values)


def _of_nothing(node: Node, *operands: Any) -> Any | None:
    """Zeros where an operand is known to have no elements: merged with a sum, TensorFlow's product of such ends the process."""
    empty = any(0 in x.shape.as_list() for x in operands)
    return tf.zeros(node.out_shape(), operands[0].dtype) if empty else None


def rows_times(x: Any, w: Any) -> Any:
    """x (..., in) times w (in, out) as one product of two matrices."""
    if len(x.shape) == 2:
        return tf.matmul(x, w)
    dims = sizes(x)
    return tf.reshape(tf.matmul(tf.reshape(x, [-1, dims[-1]]), w), [*dims[:-1], sizes(w)[1]])


@TABLE.rule("Linear", since=1, domain="polymodel")
def linear(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    if (y := _of_nothing(node, x, w)) is not None:
        return y if b is None else y + b
    dims = sizes(x)
    flat = x if len(dims) == 2 else tf.reshape(x, [-1, dims[-1]])
    transposed = bool(node.attr("transB"))
    if INSIDE_XLA.get():
        y = _times_transposed(flat, w) if transposed else _times(flat, w)
    else:
        y = tf.matmul(flat, w, transpose_b=transposed)
    y = y if b is None else tf.nn.bias_add(y, b)
    return y if len(dims) == 2 else tf.reshape(y, [*dims[:-1], sizes(w)[0 if transposed else 1]])


@tf.custom_gradient
def _times_transposed(x: Any, w: Any) -> Any:
    """x (rows, in) times w (out, in) transposed, inside XLA.

    XLA's CPU product transposes a left factor element by element, which for the derivative by the weights, dy^T x,
    takes as long as the product itself. Here the narrower of x and dy is transposed by an operator of its own, which
    a barrier keeps XLA from folding back into the product.
    """

    def backward(dy: Any) -> tuple[Any, Any]:
        if w.shape[0] <= w.shape[1]:
            by_weight = tf.matmul(xla_kept(tf.transpose(dy)), x)
        else:
            by_weight = tf.transpose(xla_kept(tf.matmul(xla_kept(tf.transpose(x)), dy)))
        return tf.matmul(dy, w), by_weight

    return tf.matmul(x, w, transpose_b=True), backward


@tf.custom_gradient
def _times(x: Any, w: Any) -> Any:
    """x (rows, in) times w (in, out), inside XLA: see _times_transposed."""

    def backward(dy: Any) -> tuple[Any, Any]:
        if w.shape[0] <= w.shape[1]:
            by_weight = tf.matmul(xla_kept(tf.transpose(x)), dy)
        else:
            by_weight = tf.transpose(xla_kept(tf.matmul(xla_kept(tf.transpose(dy)), x)))
        return tf.matmul(dy, w, transpose_b=True), by_weight

    return tf.matmul(x, w), backward


@TABLE.rule("MatMul", since=9)
def matmul(node: Node, a: Any, b: Any) -> Any:
    if (nothing := _of_nothing(node, a, b)) is not None:
        return nothing
    out = a.dtype
    a, b = _in_product_type(node, a, b)
    if node.rank(1) == 1:
        y = tf.linalg.matvec(a, b) if node.rank(0) > 1 else tf.reduce_sum(a * b)
    elif node.rank(0) == 1:
        y = tf.squeeze(tf.matmul(a[None, :], b), -2)
    elif node.rank(1) == 2 and 0 not in (a.shape[-1], b.shape[-1]):
        y = rows_times(a, b)
    else:
        y = tf.matmul(a, b)
    return tf.cast(y, out)


@TABLE.rule("Gemm", since=11)
def gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    out, alpha, beta = a.dtype, node.attr("alpha"), node.attr("beta")
    if (nothing := _of_nothing(node, a, b)) is not None:
        return nothing if c is None or beta == 0 else nothing + c * tf.cast(beta, out)
    a, b = _in_product_type(node, a, b)
    y = tf.cast(tf.matmul(a, b, transpose_a=bool(node.attr("transA")), transpose_b=bool(node.attr("transB"))), out)
    if alpha != 1:
        y = y * tf.cast(alpha, out)
    if c is None or beta == 0:
        return y
    if beta != 1:
        c = c * tf.cast(beta, out)
    if y.shape[1] is not None and c.shape.as_list() in ([y.shape[1]], [1, y.shape[1]]):
        return tf.nn.bias_add(y, tf.reshape(c, [-1]))
    return y + c


@TABLE.rule("Einsum", since=12)
def einsum(node: Node, *inputs: Any) -> Any:
    equation = str(node.attr("equation")).replace(" ", "")
    if "->" not in equation:
        terms = equation.replace(",", "").replace("...", "")
        once = sorted(c for c in set(terms) if terms.count(c) == 1)
        equation += "->" + ("..." if "..." in equation else "") + "".join(once)
    out = inputs[0].dtype
    return tf.cast(tf.einsum(equation, *_in_product_type(node, *inputs)), out)


@TABLE.rule("Det", since=11)
def det(node: Node, x: Any) -> Any:
    if node.dtype() in ("float32", "float64"):
        return _determinant(x)
    return tf.cast(_determinant(tf.cast(x, tf.float32)), x.dtype)


@tf.custom_gradient
def _determinant(x: Any) -> Any:
    """TensorFlow's own derivative divides by the determinant: wrong for singular matrices. It is the matrix of cofactors, here in
    float64."""

    def backward(dy: Any) -> Any:
        return tf.cast(_cofactors(tf.cast(x, tf.float64)) * tf.cast(dy, tf.float64)[..., None, None], x.dtype)

    return tf.linalg.det(x), backward


def _cofactors(x: Any) -> Any:
    """By elimination of every minor; above LARGEST rows det(U) det(V) U diag(products of the other singular values) V^T for
    x = U diag(s) V^T."""
    n = x.shape[-1]
    if n is not None and n < 2:
        return tf.ones_like(x)
    if n is not None and n <= LARGEST:
        places, signs = minors(n)
        return tf.linalg.det(tf.gather(tf.reshape(x, tf.concat([tf.shape(x)[:-2], [n * n]], 0)), places, axis=-1)) * signs
    s, u, v = tf.linalg.svd(x)
    others = tf.math.cumprod(s, -1, exclusive=True) * tf.math.cumprod(s, -1, exclusive=True, reverse=True)
    sign = tf.linalg.det(u) * tf.linalg.det(v)
    return tf.linalg.matmul(u * (others * sign[..., None])[..., None, :], v, transpose_b=True)
