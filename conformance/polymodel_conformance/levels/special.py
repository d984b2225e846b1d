"""Level 12: special values. NaN, infinities, -0, subnormal and largest numbers come out as the class of number that NumPy and
IEEE 754 say; a NaN stays where it is; integers overflow in two's complement; axes of no size are no accident.

Nothing is replaced before it is compared. The values of ordinary numbers are the business of the other levels.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.graph import Graph
from polymodel.spec import numpy_dtype
from polymodel_conformance.cases import Call, Case, Outcome, judged
from polymodel_conformance.corpus.generated.row import Fed, Input, build
from polymodel_conformance.corpus.special_numbers import BINARY, NUMBERS, UNARY, Special, wrapped
from polymodel_conformance.tolerance.bits import same_bits
from polymodel_conformance.tolerance.classes import same_classes
from polymodel_conformance.tolerance.verdict import Comparison, worst
from polymodel_conformance.workers.client import Answer
from polymodel_conformance.workers.jobs import Job

FAMILY = "special values"
SMOKE = frozenset(("Abs", "Exp", "Relu", "ReduceMax", "Mul", "Max"))
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def _outcome(found: Sequence[Comparison]) -> Outcome:
    bad = [c for c in found if c.verdict.bad]
    return Outcome(worst([c.verdict for c in found]), found, f"{bad[0].name}: {bad[0].detail}" if bad else "")


@dataclass
class _GivenCase(Case, ABC):
    """A graph on given inputs.

    Attributes:
        graph: what is computed.
        feeds: inputs.
    """

    id: str
    graph: Graph
    feeds: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        nodes = list(self.graph.model.graph)
        self.operators = frozenset(n.op_type for n in nodes)
        self.needs = frozenset((n.domain, n.op_type) for n in nodes)
        self.dtypes = frozenset(s.dtype for s in self.graph.specs.values())

    def prepare(self) -> None:
        return None


@final
@dataclass
class ClassCase(_GivenCase):
    """Values whose classes are known.

    Attributes:
        want: outputs by name, each in the type that it must have.
        zero_signs: whether the sign of a zero is judged.
    """

    want: Mapping[str, np.ndarray]
    zero_signs: bool = False
    family: str = FAMILY
    level: int = 12

    def judge(self, call: Call) -> Outcome:
        arrays = {f"feed/{n}": a for n, a in self.feeds.items()}
        answer = call(Job("predict", self.graph, None, arrays, {"outputs": list(self.want)}))
        if answer.status != "done":
            return judged(answer, {}, self.family)
        return _outcome([same_classes(n, answer.arrays.get(n), a, self.zero_signs, self.family) for n, a in self.want.items()])


@final
@dataclass
class UntouchedCase(_GivenCase):
    """Derivatives of elements beside a NaN or an infinity: the bits that they have beside an ordinary number.

    The graph is one call whose elements, or rows, have nothing to do with each other; the first of its ordinary inputs gets
    the special numbers.

    Attributes:
        rows: whether whole rows are spoiled by one number.
    """

    rows: bool = False
    family: str = FAMILY
    level: int = 12

    def judge(self, call: Call) -> Outcome:
        name = next(iter(self.feeds))
        shape = tuple(int(d) for d in self.graph.specs["o0"].shape if isinstance(d, int))
        cotangent = np.random.default_rng(9).standard_normal(shape).astype(np.float32)

        def ask(x: np.ndarray) -> Answer:
            feeds = {f"feed/{n}": a for n, a in {**self.feeds, name: x}.items()}
            return call(Job("gradients", self.graph, None, {**feeds, "cotangent/o0": cotangent}, {"wrt": [name]}))

        clean = ask(self.feeds[name])
        found = []
        for what in (np.nan, np.inf):
            x = self.feeds[name].copy()
            x[1, 2] = what
            spoiled = ask(x)
            for answer in (clean, spoiled):
                if answer.status != "done":
                    return judged(answer, {}, self.family)
            keep = np.ones(x.shape, bool)
            keep[(1,) if self.rows else (1, 2)] = False
            a, b = (o.arrays[name] for o in (spoiled, clean))
            found.append(same_bits(f"beside {what}", a[keep], b[keep], self.family))
        return _outcome(found)


def cases(profile: str, backends: Sequence[str], seed: int = 0) -> Iterator[Case]:
    """Special numbers through operators, integers that overflow, axes without size."""
    for special in UNARY:
        if profile != "smoke" or special.op in SMOKE:
            yield from _unary(special)
    for special in BINARY:
        if profile != "smoke" or special.op in SMOKE:
            yield from _binary(special)
    yield from _integers(profile)
    yield from _empty()
    yield from _halves()
    for op in ("Exp", "Relu", "Sigmoid", "Tanh", "Sqrt", "Softmax", "LayerNormalization"):
        yield _untouched(op)


def _rounded(value: np.ndarray, dtype: str = "float32") -> np.ndarray:
    with np.errstate(all="ignore"):
        return value if value.dtype == bool else value.astype(numpy_dtype(dtype))


def _meaning(special: Special, *x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(special.meaning(*(a.astype(np.float64) for a in x)))


def _unary(special: Special) -> Iterator[Case]:
    graph = build(special.op, ((2, 4), *special.more), special.attributes)
    for kind, numbers in NUMBERS.items():
        if kind not in special.without:
            x = np.array(numbers, np.float32).reshape(2, 4)
            want = _rounded(_meaning(special, x))
            yield ClassCase(f"special/{special.op}/{kind}", graph, {"i0": x}, {"o0": want}, special.zero_signs)


def _binary(special: Special) -> Iterator[Case]:
    graph = build(special.op, ((8, 1), (1, 8)), special.attributes)
    for kind, numbers in NUMBERS.items():
        x = np.array(numbers, np.float32)
        want = _rounded(_meaning(special, x[:, None], x[None, :]))
        yield ClassCase(
            f"special/{special.op}/{kind}", graph, {"i0": x[:, None], "i1": x[None, :]}, {"o0": want}, special.zero_signs
        )


def _integers(profile: str) -> Iterator[Case]:
    for dtype in ("int32", "uint8") if profile == "smoke" else INTEGERS:
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        x, y = np.array([[low, high, high], [low, 3, high]], dtype), np.array([[high, 1, high], [low, high, 2]], dtype)
        wide_x, wide_y = x.astype(object), y.astype(object)
        for op, value in (("Add", wide_x + wide_y), ("Sub", wide_x - wide_y), ("Mul", wide_x * wide_y)):
            yield _fed(f"special/overflow/{op}_{dtype}", op, (Fed(x), Fed(y)), wrapped(value, dtype))
        if dtype in ("int32", "uint32", "int64", "uint64"):
            total = wrapped(wide_x.sum(), dtype)
            yield _fed(f"special/overflow/ReduceSum_{dtype}", "ReduceSum", (Fed(x),), total, keepdims=0)
        if dtype.startswith("int"):
            for op, value in (("Neg", -wide_x), ("Abs", abs(wide_x))):
                yield _fed(f"special/overflow/{op}_{dtype}", op, (Fed(x),), wrapped(value, dtype))


def _fed(name: str, op: str, inputs: tuple[Input, ...], want: np.ndarray, **attributes: object) -> ClassCase:
    graph = build(op, inputs, attributes)
    feeds = {f"i{i}": x.array for i, x in enumerate(inputs) if isinstance(x, Fed)}
    return ClassCase(name, graph, feeds, {"o0": want})


def _empty() -> Iterator[Case]:
    def none(*shape: int) -> Fed:
        return Fed(np.zeros(shape, np.float32))

    one = np.array([1], np.int64)
    rows: tuple[tuple[str, str, tuple[Input, ...], np.ndarray, dict[str, object]], ...] = (
        ("add", "Add", (none(0, 3), none(1, 3)), np.zeros((0, 3)), {}),
        ("exp", "Exp", (none(2, 0, 3),), np.zeros((2, 0, 3)), {}),
        ("concat", "Concat", (none(0, 3), Fed(np.ones((2, 3), np.float32))), np.ones((2, 3)), {"axis": 0}),
        ("transpose", "Transpose", (none(0, 3),), np.zeros((3, 0)), {}),
        ("matmul_of_no_terms", "MatMul", (none(2, 0), none(0, 3)), np.zeros((2, 3)), {}),
        ("matmul_of_no_rows", "MatMul", (none(0, 2), Fed(np.ones((2, 3), np.float32))), np.zeros((0, 3)), {}),
        ("sum", "ReduceSum", (none(2, 0), one), np.zeros(2), {"keepdims": 0}),
        ("product", "ReduceProd", (none(2, 0), one), np.ones(2), {"keepdims": 0}),
        ("max", "ReduceMax", (none(2, 0), one), np.full(2, -np.inf), {"keepdims": 0}),
        ("min", "ReduceMin", (none(2, 0), one), np.full(2, np.inf), {"keepdims": 0}),
        ("softmax_of_no_rows", "Softmax", (none(0, 3),), np.zeros((0, 3)), {}),
        ("gather_nothing", "Gather", (Fed(np.ones((2, 3), np.float32)), np.zeros((0,), np.int64)), np.zeros((0, 3)), {}),
        ("conv_of_no_images", "Conv", (none(0, 2, 5, 5), Fed(np.ones((3, 2, 3, 3), np.float32))), np.zeros((0, 3, 3, 3)), {}),
    )
    for name, op, inputs, want, attributes in rows:
        yield _fed(f"special/empty/{name}", op, inputs, want.astype(np.float32), **attributes)


def _halves() -> Iterator[Case]:
    x = np.array([[1e6, -1e6, 65504.0, 1e-6], [np.nan, np.inf, 0.0, -0.0]], np.float32)
    for half, number in (("float16", 10), ("bfloat16", 16)):
        graph = build("Cast", ((2, 4),), {"to": number})
        yield ClassCase(f"special/cast/{half}", graph, {"i0": x}, {"o0": _rounded(x, half)}, True)
    big = np.array([[300.0, -300.0, 1e-4, np.nan]], np.float16)
    graph = build("Mul", ((1, 4), (1, 4)), {}, dtype="float16")
    with np.errstate(all="ignore"):
        yield ClassCase("special/Mul/float16", graph, {"i0": big, "i1": big}, {"o0": big * big})


def _untouched(op: str) -> UntouchedCase:
    rows = op in ("Softmax", "LayerNormalization")
    inputs: tuple[Input, ...] = ((3, 5), (5,)) if op == "LayerNormalization" else ((3, 5),)
    rng = np.random.default_rng(8)
    feeds = {f"i{i}": (np.abs(rng.standard_normal(s)) + 0.1).astype(np.float32) for i, s in enumerate(inputs)}  # type: ignore[arg-type]
    return UntouchedCase(f"special/gradients/{op}", build(op, inputs, {}), feeds, rows)
