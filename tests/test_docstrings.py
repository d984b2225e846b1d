"""The examples in docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import polymodel

MODULES = [m.name for m in pkgutil.walk_packages(polymodel.__path__, "polymodel.") if not m.name.endswith("__main__")]
SHOULD_HAVE_EXAMPLES = {
    "polymodel.model",
    "polymodel.nn.linear",
    "polymodel.nn.convolution",
    "polymodel.nn.module",
    "polymodel.random",
    "polymodel.spec",
}


@pytest.mark.parametrize("name", ["polymodel", *MODULES])
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    assert result.attempted or name not in SHOULD_HAVE_EXAMPLES
