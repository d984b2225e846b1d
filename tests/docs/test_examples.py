"""The Python examples of the documents run as they stand, block after block, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
RUNNABLE = (
    "quickstart", "training", "steps", "data", "concepts", "artifacts", "compare", "finetune", "models", "benchmarks",
    "write-a-backend",
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", RUNNABLE)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / f"{name}.md").read_text()
    found = list(BLOCK.finditer(text))
    assert found, f"{name}.md has no Python example"
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": name}
    for block in found:
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block.group(1), f"docs/{name}.md", "exec"), names)


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
