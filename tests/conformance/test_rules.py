"""The comparison of rules: what each rule says, and that the page says what the record holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from polymodel_conformance.rules.__main__ import main
from polymodel_conformance.rules.measure import RHO, read, tally
from polymodel_conformance.rules.page import page
from polymodel_conformance.rules.tolerances import RULES
from polymodel_conformance.rules.workloads import LENGTHS, workloads
from polymodel_conformance.tolerance.compare import Expected

DOCS = Path(__file__).parents[2] / "docs"
BY_NAME = {r.name: r for r in RULES}


def expected(*values: float, dtype: str = "float32") -> Expected:
    return Expected(np.array(values, np.float64), dtype, "rho")


def test_the_page_says_what_the_record_holds() -> None:
    record = read(DOCS / "comparison-of-rules.json")
    assert page(record) == (DOCS / "comparison-of-rules.md").read_text(encoding="utf-8")


def test_the_record_is_large_enough_and_rho_is_right_everywhere() -> None:
    record = read(DOCS / "comparison-of-rules.json")
    assert set(record["versions"]) == {"torch", "tensorflow", "mxnet"}
    for backend in record["versions"]:
        found = tally(record, backend)
        assert found[RHO]["right"] >= 30
        assert found[RHO]["planted"] >= 60
        assert found[RHO]["alarms"] == 0
        assert found[RHO]["caught"] == found[RHO]["planted"]


def test_a_page_of_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DOCS / "comparison-of-rules.json", tmp_path)
    assert main(["--from-record", "--folder", str(tmp_path)]) == 0
    assert (tmp_path / "comparison-of-rules.md").read_bytes() == (DOCS / "comparison-of-rules.md").read_bytes()
    assert "rho: 0 false alarms of" in capsys.readouterr().out
    (tmp_path / "comparison-of-rules.json").write_text('{"schema": "other"}')
    with pytest.raises(ValueError, match="expected 'polymodel-comparison-of-rules/1'"):
        main(["--from-record", "--folder", str(tmp_path)])


@pytest.mark.parametrize(
    ("rule", "off", "agrees"),
    [("Keras", 1.9e-6, True), ("Keras", 2.2e-6, False), ("torch.testing", 1.1e-5, True), ("torch.testing", 1.3e-5, False),
     ("Polygraphy", 0.9e-5, True), ("Polygraphy", 1.2e-5, False), ("ONNX Runtime", 1.0e-4, True), ("ONNX Runtime", 1.2e-4, False),
     ("MXNet test_utils", 1.0e-3, True), ("MXNet test_utils", 1.2e-3, False), ("NNSmith", 1.0e-2, True), ("NNSmith", 1.2e-2, False)],
)  # fmt: skip
def test_tolerances(rule: str, off: float, agrees: bool) -> None:
    got = np.array([1.0 + off], np.float64).astype(np.float32)
    assert BY_NAME[rule].agrees(got, expected(1.0)) is agrees


def test_one_tolerance_is_enough_for_polygraphy() -> None:
    want = expected(1e3)
    got = np.array([1e3 + 9e-3], np.float64).astype(np.float32)
    assert BY_NAME["Polygraphy"].agrees(got, want)
    assert not BY_NAME["Keras"].agrees(got, want)


def test_special_values_shapes_and_types() -> None:
    want = expected(np.nan, np.inf, 1.0)
    got = np.array([np.nan, np.inf, 1.0], np.float32)
    assert {r.name for r in RULES if not r.agrees(got, want)} == {"NNSmith", "Polygraphy"}
    zero, other = np.array([0.0, np.inf, 1.0], np.float32), np.array([np.nan, -np.inf, 1.0], np.float32)
    for wrong in (got[:2], got.astype(np.float64), None, zero, other):
        assert not any(r.agrees(wrong, want) for r in RULES)
    whole = Expected(np.array([1, 2]), "int64", "exact")
    assert all(r.agrees(np.array([1, 2]), whole) for r in RULES)
    assert not any(r.agrees(np.array([1, 3]), whole) for r in RULES)


def test_workloads_grow() -> None:
    ids = [c.id for c in workloads()]
    assert len(ids) == len(set(ids)) >= 30
    assert max(LENGTHS) == 65536
