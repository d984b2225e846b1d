"""Words of a configuration and the objects they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from polymodel.errors import ConfigError
from polymodel.optim import SGD, Adam, AdamW, ClipValue, Cosine, Warmup, get_clip, get_optimizer, get_schedule
from polymodel.optim.named import describe


@pytest.mark.parametrize("item", [SGD(0.5, momentum=0.5), Adam(), AdamW(0.25, betas=(0.5, 0.75))], ids=str)
def test_an_optimizer_is_what_its_description_makes(item: Any) -> None:
    assert get_optimizer(describe(item)) == item
    assert get_optimizer(item) is item


def test_a_schedule_is_what_its_description_makes() -> None:
    item = Warmup(3, then=Cosine(5, final=0.5))
    assert get_schedule(describe(item)) == item
    assert get_schedule(None).factor(9) == 1.0


def test_clipping() -> None:
    assert get_clip({"value": 2}) == ClipValue(2.0)
    assert get_clip(None) is None


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: get_optimizer("sdg"), "optimizer.name: unknown name 'sdg'; did you mean 'sgd'"),
        (lambda: get_optimizer({"lr": 1}), "expected a name or a mapping with a key 'name'"),
        (lambda: get_optimizer({"name": "sgd", "momentun": 1}), "optimizer.momentun: .*did you mean 'momentum'"),
        (lambda: get_optimizer({"name": "sgd", "nesterov": "yes"}), "optimizer.nesterov: expected true or false"),
        (lambda: get_optimizer({"name": "adam", "betas": [0.9]}), "optimizer.betas: expected a list of 2 numbers"),
        (lambda: get_optimizer({"name": "adam", "betas": ["a", "b"]}), "a number, received 'a'"),
        (lambda: get_schedule({"name": "warmup", "length": 1, "then": {"name": "cosin"}}), "then.name: .*'cosine'"),
        (lambda: get_clip({"norm": 1, "value": 1}), "clip is"),
    ],
)
def test_words_that_mean_nothing(make: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()
