"""Packages of third parties, installed as theirs are: from their own folder, into a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "numpy-backend"

Polymodel = Callable[..., subprocess.CompletedProcess[str]]


def install(source: Path, target: Path) -> None:
    """Install a package and nothing that it needs."""
    copy = target.parent / f"{target.name}-source"
    shutil.copytree(source, copy)  # building leaves files behind
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(copy)], check=True, capture_output=True, text=True)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the NumPy backend is installed."""
    target = tmp_path_factory.mktemp("third_party") / "site"
    install(EXAMPLE, target)
    return target


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The oracle's cache of these tests is their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def polymodel(tmp_path: Path) -> Polymodel:
    """polymodel(sites, *arguments): the command in a process that finds the packages of some folders too."""

    def run(sites: list[Path], *arguments: object) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([*map(str, sites), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        environment.pop("POLYMODEL_BACKEND", None)
        command = [sys.executable, "-m", "polymodel", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run
