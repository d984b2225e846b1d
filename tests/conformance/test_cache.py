"""What is kept on disk between runs: whole, and safe beside other runs."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from polymodel_conformance import cache
from polymodel_conformance.corpus import official


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYMODEL_CACHE", str(tmp_path))
    return tmp_path / "conformance"


def test_a_file_that_another_run_dropped(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs trim at once: what one has listed the other has removed."""
    for k in range(3):
        cache.write(cache.Key(str(k)), {"a": np.zeros(1000)})
    plain = Path.stat
    first = sorted(own.glob("*.npz"))[0]

    def stat(self: Path, **options: bool) -> os.stat_result:
        if self == first:
            self.unlink(missing_ok=True)
        return plain(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(cache, "_TOTAL", 9000)
    cache.trim()
    assert len(list(own.glob("*.npz"))) == 1


def test_what_is_being_written_is_left_alone(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.mkdir()
    unfinished = own / ".half.123.npz"
    unfinished.write_bytes(b"x")
    monkeypatch.setattr(cache, "_TOTAL", 0)
    cache.trim()
    assert unfinished.exists()


def test_kept_tests_of_the_standard_are_those_that_were_built() -> None:
    built = list(islice(official._built(None), 60))
    entries = list(official._entries(official._packed(built)))
    assert len(entries) == len(built)
    for test, entry in zip(built, entries, strict=True):
        assert entry.name == f"standard/{test.name}"
        assert entry.graph.hash == official._graph(test).hash
        assert entry.official is not None
        given, kept = [*test.inputs, *test.outputs], [*entry.draw(0).values(), *entry.official.values()]
        for a, b in zip(given, kept, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, strict=True)


def test_the_corpus_is_built_once(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = list(islice(official._built(None), 5))
    monkeypatch.setattr(official, "_built", lambda most: iter(small))
    first = official.official.__wrapped__()
    monkeypatch.setattr(official, "_built", lambda most: pytest.fail("it was kept"))
    again = official.official.__wrapped__()
    assert [(e.name, e.graph.hash, e.quick) for e in first] == [(e.name, e.graph.hash, e.quick) for e in again]
    assert len(first) == 5
