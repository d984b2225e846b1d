"""Models by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from polymodel import models
from polymodel.errors import ConfigError
from polymodel.models.table import table


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown model 'vgg_16'; did you mean 'vgg16'"):
        models.build("vgg_16")
    with pytest.raises(ConfigError, match="vgg11 has no option 'clases'; did you mean 'classes'\\? it has depth, classes"):
        models.build("vgg11", clases=3)


@pytest.mark.parametrize("name", models.CATALOG)
def test_every_option_has_a_default(name: str) -> None:
    entry = models.CATALOG[name]
    assert set(entry.options) <= set(entry.defaults)
    assert all(value is not type for value in entry.defaults.values())
    assert "20" in entry.paper or "19" in entry.paper


def test_a_named_model_is_the_reference_model() -> None:
    for name in models.REFERENCE:
        assert models.build(name, seed=3).graph.hash == models.reference(name, seed=3).model.graph.hash


def test_lists_of_a_configuration_are_options() -> None:
    assert models.build("mlp", sizes=[4, 3, 2]).graph.specs["x"].shape == ("batch", 4)
    assert models.build("resnet18", blocks=[1, 1], width=4).graph.specs["logits"].shape == ("batch", 10)


def test_the_documents_have_the_table() -> None:
    """docs/models.md holds what ``python -m polymodel.models`` prints."""
    assert table() in (Path(__file__).parents[2] / "docs/models.md").read_text()
