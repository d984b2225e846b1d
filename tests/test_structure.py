"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BACKENDS = ("torch", "tensorflow", "mxnet")
FRAMEWORKS = {"torch", "tensorflow", "mxnet", "keras", "jax"}
SOURCES = sorted(p for d in ("polymodel", "backends", "conformance") for p in (ROOT / d).rglob("*.py"))
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "misc.py", "util.py", "helper.py"}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name.split(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


# Files that only one framework needs, each for a kernel or an interface that the others do not have.
PECULIAR = {
    "torch": {"inductor.py", "inplace.py", "products.py", "rules/lstm_kernel.py", "rules/packed.py", "rules/sampling.py",
              "rules/scan.py"},
    "tensorflow": {"rules/lstm_kernel.py"},
    "mxnet": {"rules/integers.py", "executable.py", "staging.py", "symbols.py"},
}


def test_backends_are_twins() -> None:
    folders = {b: ROOT / f"backends/polymodel_{b}" for b in BACKENDS}
    names = {b: {p.relative_to(f).as_posix() for p in f.rglob("*.py")} for b, f in folders.items()}
    for backend, files in PECULIAR.items():
        assert files <= names[backend], f"{files - names[backend]} is listed but not there"
    shared = {b: names[b] - PECULIAR[b] for b in BACKENDS}
    assert shared["torch"] == shared["tensorflow"] == shared["mxnet"]


def test_no_framework_is_named_outside_the_backends() -> None:
    for folder in ("polymodel", "conformance"):
        for path in (ROOT / folder).rglob("*.py"):
            found = FRAMEWORKS.intersection(imported(ast.parse(path.read_text())))
            assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_each_backend_imports_its_own_framework_only() -> None:
    for backend in BACKENDS:
        for path in (ROOT / f"backends/polymodel_{backend}").rglob("*.py"):
            others = (FRAMEWORKS - {backend}).intersection(imported(ast.parse(path.read_text())))
            assert not others, f"{path.relative_to(ROOT)} imports {others}"


def test_importing_the_interface_imports_no_framework() -> None:
    code = (
        "import sys, pkgutil, importlib, polymodel\n"
        "for m in pkgutil.walk_packages(polymodel.__path__, 'polymodel.'):\n"
        "    if m.name != 'polymodel.__main__': importlib.import_module(m.name)\n"
        f"print(sorted(set(sys.modules) & {FRAMEWORKS!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_file_names_say_what_is_inside() -> None:
    assert not [p for p in SOURCES if p.name in FORBIDDEN_NAMES]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_file_is_one_idea(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines"


def test_classes_are_abstract_or_final() -> None:
    wrong = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            marks = {ast.unparse(d).split("(")[0] for d in node.decorator_list}
            bases = {ast.unparse(b).split("[")[0] for b in node.bases}
            functions = [f for f in node.body if isinstance(f, ast.FunctionDef)]
            abstract = any("abstractmethod" in ast.unparse(d) for f in functions for d in f.decorator_list)
            exempt = bases & {"Protocol", "NamedTuple", "Enum", "StrEnum", "TypedDict"} or "ABC" in bases
            if not ("final" in marks or abstract or exempt or path.name == "errors.py"):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not wrong


def test_no_unfinished_marks() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX)\b")
    assert not [str(p) for p in SOURCES if marks.search(p.read_text())]
