"""What setup.cfg says is what lies on the disk, and the wheel holds it."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOTS = {
    "polymodel": ".",
    "polymodel_torch": "backends",
    "polymodel_tensorflow": "backends",
    "polymodel_mxnet": "backends",
    "polymodel_conformance": "conformance",
}


def on_disk() -> set[str]:
    names = set()
    for package, root in ROOTS.items():
        base = ROOT / root
        for init in (base / package).rglob("__init__.py"):
            names.add(".".join(init.parent.relative_to(base).parts))
    return names


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def test_every_package_on_disk_is_listed() -> None:
    listed = set(setup_cfg()["options"]["packages"].split())
    assert listed == on_disk()


def test_every_folder_with_python_files_is_a_package() -> None:
    for package, root in ROOTS.items():
        for file in (ROOT / root / package).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), f"{file.parent} has no __init__.py"


@pytest.mark.parametrize("extra", ["torch", "tensorflow", "mxnet", "onnxruntime", "gpu", "test", "all"])
def test_extras(extra: str) -> None:
    assert extra in setup_cfg()["options.extras_require"]


def test_the_wheel_holds_every_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("polymodel_ml-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for package, root in ROOTS.items():
        base = ROOT / root
        for file in (base / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and file.suffix not in (".pyc",):
                assert file.relative_to(base).as_posix() in held, f"{file} is not in the wheel"
