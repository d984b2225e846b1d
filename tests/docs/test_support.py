"""docs/support.md is what its command prints, and what it says holds together."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from polymodel.backend import Backend
from polymodel.registry import get_backend
from polymodel_conformance.official.known import expected, known_misses
from polymodel_conformance.support import BACKENDS, Row, calls_of_tests, page, rows, types_of

PAGE = Path(__file__).parents[2] / "docs" / "support.md"


@pytest.fixture(scope="module")
def backends() -> list[Backend]:
    return [get_backend(b) for b in BACKENDS]


@pytest.fixture(scope="module")
def table(backends: list[Backend]) -> dict[tuple[str, str], Row]:
    return {(r.domain, r.name): r for r in rows(backends)}


def test_the_page_is_what_the_command_prints(backends: list[Backend]) -> None:
    if not expected().installed:
        pytest.skip(f"the page is of onnx {expected().onnx}")
    assert PAGE.read_text() == page(backends), "python -m polymodel_conformance.support > docs/support.md"


def test_every_operator_of_the_standard_is_in_it(table: dict[tuple[str, str], Row]) -> None:
    assert set(table) == {(s.domain, s.name) for s in onnx.defs.get_all_schemas()}
    assert sum(not domain for domain, _ in table) >= 203


def test_an_operator_that_nothing_runs_has_no_passed_test(table: dict[tuple[str, str], Row]) -> None:
    for row in table.values():
        for backend, how in row.how.items():
            assert how != "missing" or row.misses[backend] == row.tests, (backend, row.name)


def test_every_test_and_miss_is_counted_where_it_belongs(table: dict[tuple[str, str], Row]) -> None:
    direct = calls_of_tests()
    assert expected().core <= set(direct)
    assert table["", "Relu"].tests == 1
    assert table["", "Dropout"].misses == dict.fromkeys(BACKENDS, 4)
    for backend in BACKENDS:
        counted = {n for n in known_misses(backend) if n in direct}
        assert {r.name for r in table.values() if r.misses[backend]} == {op for n in counted for _, op in direct[n]}


@pytest.mark.parametrize(("op", "words"), [("Relu", "float bfloat16 int"), ("Not", "bool"), ("StringConcat", "string")])
def test_types(op: str, words: str) -> None:
    assert types_of(onnx.defs.get_schema(op)) == words
