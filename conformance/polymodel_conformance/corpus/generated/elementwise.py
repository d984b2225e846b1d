"""Functions of one element, and of several that are broadcast."""

from __future__ import annotations

import numpy as np

from polymodel_conformance.corpus.generated.row import Drawn, Fed, Row, above, ints, near, positive, row, unit

_SMOKE = {"Exp", "Relu", "Gelu"}
_SMOOTH = (
    "Neg Exp Erf Sin Cos Sinh Cosh Tanh Asinh Atan Sigmoid Softplus Softsign Gelu Mish Swish Elu Selu Celu HardSigmoid "
    "HardSwish LeakyRelu ThresholdedRelu Shrink Relu Abs Identity Sign Floor Ceil Round"
)
_SHAPE = (3, 5, 7)


def _unary() -> list[Row]:
    rows: list[Row] = []
    kinds: list[tuple[Drawn, str]] = [
        (Drawn(_SHAPE), _SMOOTH), (positive(*_SHAPE), "Log Sqrt Reciprocal"), (unit(*_SHAPE), "Asin Acos Atanh Tan"),
        (above(*_SHAPE), "Acosh"),
    ]
    for given, ops in kinds:
        rows += [row(op.lower(), op, given, smoke=op in _SMOKE) for op in ops.split()]
    for op in "Neg Exp Tanh Sigmoid Gelu Relu Softplus Softsign Abs Erf".split():
        rows.append(row(f"{op.lower()}_scalar", op, (), double=op == "Softsign"))
        rows.append(row(f"{op.lower()}_empty", op, (2, 0, 3), double=False))
    return rows


def _far() -> list[Row]:
    """Where a function saturates or a careless formula overflows."""
    ends = near([-90.0, -30.0, -12.0, -1e-3, 1e-3, 12.0, 30.0, 80.0])
    ops = "Sigmoid Softplus Tanh Mish Gelu Elu Selu Celu Softsign HardSwish Swish Asinh Atan Erf".split()
    knee = row("softplus_knee", "Softplus", near([-35.0, -21.0, -16.0, 14.0, 20.5, 22.0, 25.0, 34.0]))
    return [*(row(f"{op.lower()}_far", op, ends) for op in ops), knee]


_ATTRIBUTES: list[Row] = [
    row("gelu_tanh", "Gelu", (4, 9), approximate="tanh"),
    row("clip", "Clip", (4, 9), np.float32(-0.5), np.float32(0.75)),
    row("clip_above", "Clip", (4, 9), None, np.float32(0.75)),
    row("clip_bounds_fed", "Clip", (4, 9), near(-0.5), near(0.75)),
    row("elu_alpha", "Elu", (4, 9), alpha=0.3),
    row("celu_alpha", "Celu", (4, 9), alpha=2.5),
    row("selu_other", "Selu", (4, 9), alpha=1.5, gamma=0.7),
    row("leakyrelu_negative", "LeakyRelu", (4, 9), alpha=-0.2),
    row("thresholdedrelu_negative", "ThresholdedRelu", (4, 9), alpha=-0.5),
    row("hardsigmoid_other", "HardSigmoid", (4, 9), alpha=0.4, beta=0.3),
    row("shrink_soft", "Shrink", (4, 9), bias=0.3, lambd=0.3),
    row("swish_alpha", "Swish", (4, 9), alpha=1.7),
    row("swiglu", "SwiGLU", (3, 5), (3, 5)),
    row("swiglu_alpha", "SwiGLU", (2, 7), (2, 7), alpha=1.7),
    row("castlike_same", "CastLike", (3, 4), np.float32(0.0), double=False),
    row("cast_wider", "Cast", (3, 4), to=11, double=False),
    row("cast_from_integers", "Cast", Fed(np.arange(6, dtype=np.int32)), to=1, double=False),
    row("dropout_inference", "Dropout", (3, 4)),
]

_BINARY: list[Row] = [
    row(f"{op.lower()}_broadcast", op, a, b)
    for op, a, b in (
        ("Add", (2, 1, 5), (3, 1)),
        ("Sub", (5,), (2, 3, 1)),
        ("Mul", (2, 3, 5), (3, 1)),
        ("Div", (2, 3, 5), positive(1, 5)),
        ("Pow", positive(2, 3, 5), (3, 1)),
        ("Max", (2, 3, 5), (3, 1)),
        ("Min", (2, 3, 5), (5,)),
        ("PRelu", (2, 3, 5), (3, 1)),
    )
]

_MORE: list[Row] = [
    row("mod_fmod", "Mod", (2, 3, 5), positive(3, 1), fmod=1),
    row("add_scalar", "Add", (3, 4), ()),
    row("mul_two_scalars", "Mul", (), ()),
    row("add_empty", "Add", (0, 3), (3,)),
    row("mul_batch_of_none", "Mul", (0, 4, 1), (5,)),
    row("div_negative", "Div", (3, 4), near([-1.5, 2.0, -0.3, 0.7])),
    row("pow_integers", "Pow", (3, 4), np.array([2, 3, 1, 0], np.int64)),
    row("pow_square_of_negative", "Pow", (3, 4), np.float32(2.0)),
    row("pow_half", "Pow", positive(3, 4), np.float32(0.5)),
    row("sum_three", "Sum", (3, 1), (1, 4), ()),
    row("sum_one", "Sum", (3, 2)),
    row("mean_three", "Mean", (3, 1), (1, 4), (3, 4)),
    row("max_three", "Max", (3, 1), (1, 4), (2, 3, 4)),
    row("min_one", "Min", (3, 4)),
    row("prelu_shared", "PRelu", (2, 3, 4), (1,)),
    row("where", "Where", np.array([[True], [False]]), (2, 3), (1, 3)),
    row("where_broadcast_all", "Where", np.array([[[True]], [[False]]]), (3, 1), (4,)),
    row("where_scalar", "Where", np.array([True, False, True]), (), (3,)),
    row("range", "Range", near(0.55), near(5.05), near(1.0)),
    row("range_down", "Range", near(3.55), near(-1.05), near(-0.8)),
    row("identity_batch_of_none", "Identity", (0, 3)),
    row("reshape_to_scalar", "Reshape", (1, 1), ints()),
]

ROWS = [*_unary(), *_far(), *_ATTRIBUTES, *_BINARY, *_MORE]
