"""Parts of the suite, other seeds, runs that go on, and the comparison with an older report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polymodel_conformance.cases import GraphCase
from polymodel_conformance.reporting import baseline
from polymodel_conformance.reporting.journal import NAME
from polymodel_conformance.reporting.report import Report
from polymodel_conformance.run import collect, run
from polymodel_conformance.selection import Selection, UsageError, parse_shard


def test_shards_have_every_case_once_and_keep_a_training_together() -> None:
    whole = collect("smoke", [1, 3, 6], ["torch"])
    parts = [[c.id for c in Selection(shard=(k, 3)).take(whole)] for k in (1, 2, 3)]
    assert sorted(i for p in parts for i in p) == sorted(c.id for c in whole)
    assert min(len(p) for p in parts) > 0.2 * len(whole)
    steps = [i for i in parts[0] if i.startswith("trajectory/")]
    for prefix in {i.rpartition("/")[0] for i in steps}:
        assert not [i for p in parts[1:] for i in p if i.startswith(f"{prefix}/")]


def test_operators_and_types() -> None:
    whole = collect("smoke", [1, 2, 3], ["torch"])
    chosen = Selection(operators=frozenset({"Conv", "Gemm"})).take(whole)
    assert chosen
    assert all(c.operators & {"Conv", "Gemm"} for c in chosen)
    integers = Selection(dtype="int64").take(whole)
    assert integers
    assert all("int64" in c.dtypes for c in integers)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Selection(operators=frozenset({"Convv"})), "did you mean Conv"),
        (lambda: Selection(dtype="float23"), "float23"),
        (lambda: Selection(shard=(5, 4)), "1/4 to 4/4"),
        (lambda: parse_shard("three"), "such as 1/4"),
        (lambda: parse_shard("1/0"), "such as 1/4"),
    ],
)
def test_impossible_parts(make: object, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        make()  # type: ignore[operator]


def test_a_seed_draws_other_inputs_and_the_same_again() -> None:
    def feeds(seed: int) -> dict[str, np.ndarray]:
        case = next(c for c in collect("smoke", [1], ["torch"], seed) if c.id.startswith("forward/generated/gemm"))
        assert isinstance(case, GraphCase)
        case.prepare()
        assert case._job is not None
        return dict(case._job.arrays)

    first, again, other = feeds(0), feeds(0), feeds(1)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert any(not np.array_equal(value, other[name]) for name, value in first.items())


def _plain(report: Report) -> list[dict[str, object]]:
    return [{**r.json(), "seconds": 0} for r in report.results]


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = run(["torch"], "smoke", [3], tmp_path)
    journal = tmp_path / NAME
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + len(whole.results)
    changed = lines[1].replace('"message": ""', '"message": "taken from the journal"')
    journal.write_text(lines[0] + changed + lines[2] + lines[3][: len(lines[3]) // 2])
    resumed = run(["torch"], "smoke", [3], tmp_path, resume=True)
    assert resumed.results[0].outcome.message == "taken from the journal"
    assert _plain(resumed)[1:] == _plain(whole)[1:]
    assert len(journal.read_text().splitlines()) == 1 + len(whole.results)


def test_another_run_is_not_continued(tmp_path: Path) -> None:
    run(["torch"], "smoke", [3], tmp_path, selection=Selection("adamw"))
    with pytest.raises(UsageError, match="other levels, selection"):
        run(["torch"], "smoke", [4], tmp_path, resume=True)
    with pytest.raises(UsageError, match="name the folder"):
        run(["torch"], "smoke", [3], resume=True)
    journal = tmp_path / NAME
    head = json.loads(journal.read_text().splitlines()[0])
    journal.write_text(json.dumps({**head, "code": "0"}) + "\n")
    with pytest.raises(UsageError, match="other code"):
        run(["torch"], "smoke", [3], tmp_path, resume=True, selection=Selection("adamw"))
    journal.write_text("{}\n")
    with pytest.raises(UsageError, match="no journal"):
        run(["torch"], "smoke", [3], tmp_path, resume=True, selection=Selection("adamw"))


def test_what_became_worse_fails_the_run(tmp_path: Path) -> None:
    first = run(["torch"], "smoke", [3], tmp_path / "old")
    assert first.passed
    path = tmp_path / "old" / "report.json"
    data = json.loads(path.read_text())
    a, b, c = data["results"][:3]
    b["verdict"] = "fail"
    c["worst"]["score"] /= 1e6
    data["results"].append({**a, "case": "optimizers/gone"})
    path.write_text(json.dumps(data))
    report = run(["torch"], "smoke", [3], tmp_path / "new", baseline=path)
    assert report.exit_code == 1
    assert report.baseline is not None
    assert [(d.case, d.now) for d in report.baseline.worse] == [("optimizers/gone", "missing")]
    assert [d.case for d in report.baseline.better] == [b["case"]]
    assert "1 worse" in str(report)
    assert "became worse" in (tmp_path / "new" / "index.html").read_text()
    part = run(["torch"], "smoke", [3], tmp_path / "part", baseline=path, selection=Selection("adamw"))
    assert part.passed
    path.write_text(json.dumps({**data, "seed": 1}))
    older = baseline.read(path)
    assert not baseline.against(older, report, partial=False).worse  # another sample, in which the case may not have been drawn
    report.profile = "full"
    assert [d.now for d in baseline.against(older, report, partial=False).worse] == ["missing"]


def test_a_baseline_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        baseline.read(tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"schema": "something/1"}')
    with pytest.raises(UsageError, match="something/1"):
        baseline.read(tmp_path / "other.json")
    (tmp_path / "text.json").write_text("not json")
    with pytest.raises(UsageError, match="no report"):
        baseline.read(tmp_path / "text.json")
