"""The table of what runs where: ``python -m polymodel_conformance.support > docs/support.md``.

Everything in it is read off tables: rules, bodies and host rules of the backends, functions and types of the standard,
the tests of the onnx package with the misses listed in known/onnx_BACKEND.txt (tests/conformance/official proves that
these are all), and the generated cases with derivatives that level 2 judges. Nothing is compiled or run.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, final

import onnx
import onnx_ir as ir

from polymodel.backend import Backend
from polymodel.passes.carriers import carrier
from polymodel.registry import get_backend
from polymodel.spec import dtype_name
from polymodel.support import BODY, COMPILED, FUNCTION, MISSING, ON_HOST, UNROLLED, support
from polymodel_conformance.corpus.differentiable import STEPS, differentiable_operators
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.known_failures import known
from polymodel_conformance.levels.gradients import case_of
from polymodel_conformance.official.known import expected, known_misses
from polymodel_conformance.support_reasons import reason

BACKENDS = ("torch", "tensorflow", "mxnet")
WORDS = {
    COMPILED: ("rule", "compiled by the backend's own rule (`backends/polymodel_*/rules/`)"),
    BODY: ("body", "compiled as other operators, written once for all backends (`polymodel/bodies/`)"),
    FUNCTION: ("function", "compiled as other operators, by the function that the standard gives"),
    UNROLLED: (
        "turns",
        ("written out where the condition or the number of turns can be seen ahead and compiled; else run in compiled turns "
        "that the host strings together ([concepts](concepts.md))"),
    ),
    ON_HOST: ("host", "run in NumPy between compiled parts, without derivatives"),
    MISSING: ("-", "nothing runs it; why is below"),
}
"""How an operator runs: word of the table and what it means."""

GROUPS = {
    "float": ("tensor(float16)", "tensor(float)", "tensor(double)"),
    "bfloat16": ("tensor(bfloat16)",),
    "int": tuple(f"tensor(int{n})" for n in (8, 16, 32, 64)),
    "uint": tuple(f"tensor(uint{n})" for n in (8, 16, 32, 64)),
    "bool": ("tensor(bool)",),
    "float8": tuple(f"tensor(float8{n})" for n in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0")),
    "sub-byte": tuple(f"tensor({n})" for n in ("int4", "uint4", "int2", "uint2", "float4e2m1")),
    "complex": ("tensor(complex64)", "tensor(complex128)"),
    "string": ("tensor(string)",),
}
"""Groups of element types, in the standard's spelling."""


DEPRECATED = {"Scatter": "ScatterElements", "Upsample": "Resize"}
"""Differentiable operators that loading lifts to others."""


@final
@dataclass(frozen=True)
class Row:
    """One operator.

    Attributes:
        domain: "" is ai.onnx.
        name: the operator.
        since: version of its newest meaning.
        how: one of WORDS for each backend.
        tests: direct tests of the onnx package that call it.
        misses: how many of them each backend misses.
        derivatives: what the table says of them.
        types: groups of element types that the standard allows.
    """

    domain: str
    name: str
    since: int
    how: Mapping[str, str]
    tests: int
    misses: Mapping[str, int]
    derivatives: str
    types: str


@cache
def calls_of_tests() -> Mapping[str, frozenset[tuple[str, str]]]:
    """Domain and operator of every call of each direct node test."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return {
        c.name: frozenset(("" if n.domain == "ai.onnx" else n.domain, n.op_type) for n in c.model.graph.node)
        for c in cases
        if c.model is not None and "_expanded" not in c.name
    }


def rows(backends: Sequence[Backend]) -> list[Row]:
    """Every operator of the installed onnx package."""
    newest = {(s.domain, s.name): s for s in onnx.defs.get_all_schemas()}
    tests = Counter(call for calls in calls_of_tests().values() for call in calls)
    misses = {
        b.name: Counter(call for n in known_misses(b.name) for call in calls_of_tests().get(n, ())) for b in backends
    }
    cases = Counter(op for e in generated() if case_of(e) for op in {n.op_type for n in e.graph.model.graph})
    failing = {b.name: failing_derivatives(b.name) for b in backends}
    found = []
    for (domain, name), schema in sorted(newest.items(), key=lambda item: (item[0][0], item[0][1].lower())):
        opset = onnx.defs.onnx_opset_version() if not domain else schema.since_version
        how = {b.name: support(b.table, domain, name, opset) for b in backends}
        said = derivatives(domain, name, how, cases[name], {b: fails[name] for b, fails in failing.items()})
        missing = {b: count[domain, name] for b, count in misses.items()}
        found.append(Row(domain, name, schema.since_version, how, tests[domain, name], missing, said, types_of(schema)))
    return found


def failing_derivatives(backend: str) -> Counter[str]:
    """How many generated cases of each operator are listed as failing at level 2."""
    listed = known(backend)
    entries = [e for e in generated() if f"gradients/{e.name}" in listed]
    return Counter(op for e in entries for op in {n.op_type for n in e.graph.model.graph})


def derivatives(domain: str, name: str, how: Mapping[str, str], cases: int, failing: Mapping[str, int]) -> str:
    """What the table says of an operator's derivatives."""
    if domain == "ai.onnx.preview" or (not domain and name == "SequenceMap"):
        return "through the calls inside"
    if domain:
        return ""
    if UNROLLED in how.values():
        return "through the calls inside"
    if name in DEPRECATED:
        return f"as {DEPRECATED[name]}"
    if name not in differentiable_operators() | STEPS:
        return ""
    without = [b for b, word in how.items() if word in (ON_HOST, MISSING)]
    if len(without) == len(how):
        return "none: host"
    words = [f"{cases} case{'s' * (cases != 1)}"] + (["zero"] if name in STEPS else [])
    words += [f"not on {b}" for b in without] + [f"{b}: {n} fail" for b, n in failing.items() if n]
    return ", ".join(words)


def types_of(schema: Any) -> str:
    """Groups of element types that the standard allows for any input or output; members where a group is not whole."""
    constraints = {t for c in schema.type_constraints for t in c.allowed_type_strs}
    allowed = constraints | {p.type_str for p in (*schema.inputs, *schema.outputs)}
    words = []
    for group, members in GROUPS.items():
        have = [m for m in members if m in allowed]
        if len(have) == len(members):
            words.append(group)
        else:
            words += [dtype_of(m) for m in have]
    if any(t.startswith(("seq(", "optional(")) for t in allowed):
        words.append("sequences")
    return " ".join(words)


def dtype_of(spelling: str) -> str:
    """tensor(double) -> float64."""
    inner = spelling.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


# -- the page -----------------------------------------------------------------------------------------------------------


def page(backends: Sequence[Backend]) -> str:
    """The whole document."""
    table = rows(backends)
    parts = [_head(), *_tests(backends), *_types(backends)]
    parts += [f"## How an operator runs\n\n{_legend()}", *_operators(table, backends), *_gaps(table, backends)]
    return "\n\n".join(parts) + "\n"


def _head() -> str:
    return (
        "# What runs where\n\n"
        "Generated, not written: `python -m polymodel_conformance.support > docs/support.md`. A test compares this page with what "
        f"the command prints. onnx {expected().onnx}, opset {onnx.defs.onnx_opset_version()}."
    )


def _tests(backends: Sequence[Backend]) -> Iterator[str]:
    yield (
        "## The standard's own tests\n\n"
        f"`polymodel conformance --suite onnx` runs all {expected().tests} tests of the onnx package "
        "([conformance](conformance.md)); CORE are the direct tests of ai.onnx without float8, sub-byte, string, sequence and "
        "optional types, ImageDecoder, deprecated operators and tests that expect NumPy's random stream. The tests in "
        "`tests/conformance/official` prove these numbers and the list of misses."
    )
    heads = ["backend", "passed", f"of {expected().tests}", f"CORE of {len(expected().core)}"]
    body = []
    for b in backends:
        misses = known_misses(b.name)
        core = len(expected().core) - len(expected().core & set(misses))
        body.append([b.name, str(expected().tests - len(misses)), f"{(1 - len(misses) / expected().tests):.2%}", str(core)])
    yield _table(heads, body)
    why: dict[tuple[str, str], list[str]] = {}
    for b in backends:
        for test, words in known_misses(b.name).items():
            why.setdefault((test, words), []).append(b.name)
    yield _table(["missed tests", "on", "why"], _grouped([(f"`{t}`", _on(on, backends), w) for (t, w), on in why.items()]))


def _types(backends: Sequence[Backend]) -> Iterator[str]:
    yield (
        "## Element types\n\n"
        "A type that a framework lacks is carried in a wider one and rounded or wrapped after each call, so that results are those "
        "of the declared type ([decision 7](decisions/0007-types-that-a-framework-lacks-are-carried.md)). uint64 is carried in an "
        "int64 that has its bits: means, norms, matrix products and interpolation of uint64 are refused by name. Strings and "
        "sequences are held by the host."
    )
    body = []
    for dtype in ir.DataType:
        if dtype.name == "UNDEFINED":
            continue
        name = dtype_name(dtype)
        body.append([name, *(_holds(name, b.capabilities().dtypes) for b in backends)])
    yield _table(["type", *(b.name for b in backends)], body)


def _holds(name: str, held: frozenset[str]) -> str:
    if name in held:
        return "held"
    if name == "string":
        return "host"
    return f"in {carrier(name, held)}" if carrier(name, held) != name else "-"


def _legend() -> str:
    words = [f"- **{word}**: {meaning}" for word, meaning in WORDS.values()]
    more = [
        "- **tests**: direct node tests of the onnx package that call the operator; misses are named.",
        ("- **derivatives**: generated cases in which the derivatives of the operator by every float input are judged against a float64 "
        "oracle on every backend (`polymodel conformance --profile full --levels 2`, which also judges the onnx package's own "
        "tests); *zero*: it is zero wherever there is one, and a backend must say so. Empty: the standard has none."),
        "- **types**: what the standard allows for some input or output; *float* is float16, float32 and float64.",
    ]
    return "\n".join([*words, *more])


def _operators(table: Sequence[Row], backends: Sequence[Backend]) -> Iterator[str]:
    for domain in sorted({r.domain for r in table}):
        mine = [r for r in table if r.domain == domain]
        yield f"### {domain or 'ai.onnx'}: {len(mine)} operator{'s' * (len(mine) != 1)}"
        yield "; ".join(_sum(mine, b.name) for b in backends) + "."
        heads = ["operator", "since", *(b.name for b in backends), "tests", "derivatives", "types"]
        yield _table(heads, [_cells(r, backends) for r in mine])


def _sum(mine: Sequence[Row], backend: str) -> str:
    counts = Counter(r.how[backend] for r in mine)
    return f"{backend}: " + ", ".join(f"{counts[k]} {'missing' if k == MISSING else w}" for k, (w, _) in WORDS.items() if counts[k])


def _cells(row: Row, backends: Sequence[Backend]) -> list[str]:
    missed: dict[int, list[str]] = {}
    for b, n in row.misses.items():
        if n:
            missed.setdefault(n, []).append(b)
    words = [f"{n} missed on {_on(where, backends)}" for n, where in missed.items()]
    tests = ", ".join([str(row.tests), *words]) if row.tests else "none"
    how = [WORDS[row.how[b.name]][0] for b in backends]
    return [row.name, str(row.since), *how, tests, row.derivatives, row.types]


def _gaps(table: Sequence[Row], backends: Sequence[Backend]) -> Iterator[str]:
    yield "## What is missing or runs on the host, and why"
    body = []
    for words in (MISSING, ON_HOST):
        for row in table:
            if where := [b.name for b in backends if row.how[b.name] == words]:
                name = f"{row.domain}::{row.name}" if row.domain else row.name
                is_so = "missing" if words == MISSING else "host"
                body.append((name, is_so, _on(where, backends), reason(row.domain, row.name, words)))
    yield _table(["operators", "are", "on", "why"], _grouped(body))


def _on(names: Sequence[str], backends: Sequence[Backend]) -> str:
    return "every backend" if len(names) == len(backends) else ", ".join(names)


def _grouped(body: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """Lines that differ in their first cell only as one line."""
    found: dict[tuple[str, ...], list[str]] = {}
    for first, *rest in body:
        found.setdefault(tuple(rest), []).append(first)
    return [[", ".join(first), *rest] for rest, first in found.items()]


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main() -> None:
    """Print the page."""
    sys.stdout.write(page([get_backend(b) for b in BACKENDS]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
