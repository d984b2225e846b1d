"""The skeleton of a backend passes its own test as it stands, and is written only where nothing is harmed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polymodel.errors import ConfigError
from polymodel.scaffold import write_backend

from .conftest import Polymodel, install


def test_it_passes_its_own_test_once_it_is_installed(tmp_path: Path, polymodel: Polymodel) -> None:
    done = polymodel([], "new-backend", "acme_one", "--directory", tmp_path / "src")
    assert done.returncode == 0, done.stderr
    folder, site = tmp_path / "src" / "polymodel-acme-one", tmp_path / "site"
    install(folder, site)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder / "tests")]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


def test_a_wrong_first_rule_fails_its_test(tmp_path: Path, polymodel: Polymodel) -> None:
    write_backend("wrong", tmp_path)
    rule = tmp_path / "polymodel-wrong" / "polymodel_wrong" / "rules" / "elementwise.py"
    rule.write_text(rule.read_text().replace("np.maximum(x, 0)", "np.maximum(x, -0.5)"))
    install(tmp_path / "polymodel-wrong", tmp_path / "site")
    arguments = ("--backends", "wrong", "--levels", "1", "--profile", "smoke", "--operators", "Relu", "--report", "report")
    assert polymodel([tmp_path / "site"], "conformance", *arguments).returncode == 1


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("../escape", "no name"), ("a/b", "no name"), ("/tmp/x", "no name"), ("", "no name"), ("Acme", "no name"),
        ("1st", "no name"), ("class", "no name"), ("a__b", "no name"), ("a\n", "no name"), ("été", "no name"),
        ("torch", "already"), ("conformance", "polymodel_conformance already"),
    ],
)  # fmt: skip
def test_names_that_are_none_or_taken(name: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=word):
        write_backend(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, polymodel: Polymodel) -> None:
    write_backend("acme", tmp_path)
    mine = tmp_path / "polymodel-acme" / "README.md"
    mine.write_text("mine")
    done = polymodel([], "new-backend", "acme", "--directory", tmp_path)
    assert done.returncode == 2
    assert "nothing is overwritten" in done.stderr
    assert mine.read_text() == "mine"
