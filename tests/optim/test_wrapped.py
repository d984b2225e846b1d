"""Rules around rules: groups, averages, constraints, gathered gradients; in float64 on the reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodel.errors import ConfigError, GraphError
from polymodel.optim import (
    SGD,
    Adafactor,
    Adam,
    AdamW,
    Averaged,
    ClipParameterNorm,
    Constrained,
    Group,
    Groups,
    MaxNorm,
    NonNegative,
    UnitNorm,
    get_clip,
    get_optimizer,
)
from polymodel.optim.gather import Gathering
from polymodel.optim.named import check_patterns, describe

WORDS = {
    "name": "adamw",
    "lr": 0.5,
    "groups": [{"match": ["b"], "weight_decay": 0.0}, {"match": ["w*"], "lr": 0.25, "betas": [0.5, 0.75]}],
    "constraints": [{"name": "max_norm", "match": "w", "max_norm": 3.0}],
    "ema": {"decay": 0.5, "warmup": False},
}


def test_groups_are_rules_of_their_own(run: Any, problem: Any) -> None:
    start, gradients = problem
    rule = Groups(AdamW(0.5, weight_decay=0.25), (Group("b", {"weight_decay": 0.0, "lr": 0.125}),))
    lrs = [0.5, 0.25, 0.125] + [0.0625] * 7
    found, slots = run(rule, start, gradients, lrs=lrs)
    alone = {
        "w": run(AdamW(0.5, weight_decay=0.25), {"w": start["w"]}, [{"w": g["w"]} for g in gradients], lrs=lrs),
        "b": run(
            AdamW(0.125, weight_decay=0.0), {"b": start["b"]}, [{"b": g["b"]} for g in gradients],
            lrs=[lr / 4 for lr in lrs],
        ),
    }
    for n, (p, s) in alone.items():
        np.testing.assert_array_equal(found[n], p[n])
        np.testing.assert_array_equal(slots[f"exp_avg/{n}"], s[f"exp_avg/{n}"])


@pytest.mark.parametrize(
    "around", [lambda r: r, lambda r: Averaged(r, 0.5), lambda r: Constrained(r, (MaxNorm("w"),))]
)
def test_the_rule_of_one_parameter_has_the_slots_of_all(around: Any) -> None:
    rule = around(Groups(Adafactor(), (Group("w", {"lr": 0.5}),)))
    value = np.ones((4, 3))
    for name in ("w", "v"):
        own = rule.rule_for(name)
        assert own.slot_shapes(name, value.shape) == rule.slot_shapes(name, value.shape)
        assert {k: v.shape for k, v in own.start(name, value).items()} == rule.slot_shapes(name, value.shape)
        assert own.positional


def test_groups_may_have_other_slots(run: Any, problem: Any) -> None:
    start, gradients = problem
    rule = Groups(SGD(0.5), (Group("w", {"momentum": 0.5}),))
    assert set(run(rule, start, gradients)[1]) == {"momentum_buffer/w"}


def test_the_average(run: Any, problem: Any) -> None:
    start, gradients = problem
    plain = [run(SGD(0.5), start, gradients[:k])[0] for k in range(11)]
    for rule, decays in (
        (Averaged(SGD(0.5), 0.75), [0.75] * 10),
        (Averaged(SGD(0.5), 0.75, warmup=True), [min(0.75, (1 + t) / (10 + t)) for t in range(1, 11)]),
    ):
        found, slots = run(rule, start, gradients)
        for n in start:
            want = start[n]
            for decay, p in zip(decays, plain[1:], strict=True):
                want = decay * want + (1 - decay) * p[n]
            np.testing.assert_allclose(slots[f"ema/{n}"], want, rtol=1e-12)
            np.testing.assert_array_equal(found[n], plain[-1][n])


def test_constraints(run: Any) -> None:
    rng = np.random.default_rng(0)
    start = {n: rng.standard_normal(s) for n, s in (("a", (4, 2, 3)), ("b", (5,)), ("c", (3, 6)), ("d", (2, 2)))}
    gradients = [{n: rng.standard_normal(a.shape) for n, a in start.items()}]
    rule = Constrained(SGD(0.5), (MaxNorm("a", 1.0), NonNegative("b"), UnitNorm("c")))
    found, _ = run(rule, start, gradients)
    free, _ = run(SGD(0.5), start, gradients)
    norms = np.sqrt((free["a"] ** 2).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(found["a"], free["a"] / np.maximum(norms, 1.0), rtol=1e-12)
    np.testing.assert_array_equal(found["b"], np.maximum(free["b"], 0))
    np.testing.assert_allclose(found["c"], free["c"] / np.linalg.norm(free["c"], axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_array_equal(found["d"], free["d"])


def test_the_norm_of_each_parameter_is_clipped(run: Any, problem: Any) -> None:
    start, gradients = problem
    found, _ = run(SGD(1.0), start, gradients[:1], clip=ClipParameterNorm(0.5))
    for n, g in gradients[0].items():
        norm = np.linalg.norm(g)
        np.testing.assert_allclose(start[n] - found[n], g * min(1.0, 0.5 / (norm + 1e-6)), rtol=1e-12)
    assert get_clip({"parameter_norm": 0.5}) == ClipParameterNorm(0.5)


def test_gathered_parts_are_the_whole(run: Any, problem: Any) -> None:
    """Three gathering steps leave the weighted sum of the gradients, and the parameters as they are."""
    start, gradients = problem
    whole = {n: 0.5 * gradients[0][n] + 0.25 * gradients[1][n] + 0.25 * gradients[2][n] for n in start}
    sums = {f"grad_sum/{n}": np.zeros_like(a) for n, a in start.items()}
    from onnx.reference import ReferenceEvaluator

    from polymodel.optim.update_graph import update_graph
    from polymodel.spec import TensorSpec

    rule = Gathering(Adam(0.5))
    graph = update_graph(rule, {n: TensorSpec(a.shape, "float64") for n, a in start.items()})
    for share, g in zip((0.5, 0.25, 0.25), gradients, strict=False):
        feeds = {f"p/{n}": a for n, a in start.items()} | {f"g/{n}": a for n, a in g.items()} | sums
        feeds |= {"gather.share": np.array(share)}
        results = ReferenceEvaluator(graph.proto()).run(list(graph.outputs), {n: feeds[n] for n in graph.inputs})
        found = dict(zip(graph.outputs, results, strict=True))
        assert found.keys() == {f"new/{n}" for n in sums}
        sums = {n.removeprefix("new/"): a for n, a in found.items()}
    for n in start:
        np.testing.assert_allclose(sums[f"grad_sum/{n}"], whole[n], rtol=1e-12)


def test_words_and_back() -> None:
    rule = get_optimizer(WORDS)
    assert isinstance(rule, Averaged)
    assert (rule.name, rule.lr, rule.slots) == ("adamw", 0.5, ("exp_avg", "exp_avg_sq", "ema"))
    assert get_optimizer(describe(rule)) == rule
    assert describe(get_optimizer(describe(rule))) == describe(rule)
    assert get_optimizer({"name": "sgd", "ema": 0.5}) == Averaged(SGD(), 0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"groups": [{"weight_decay": 0}]}, r"optimizer.groups.0: expected a mapping with a key 'match'"),
        ({"groups": [{"match": "b", "decay": 0}]}, r"optimizer.groups.0.decay: optimizer 'adamw' has no such hyper"),
        ({"groups": "b"}, r"optimizer.groups: expected a list"),
        ({"constraints": [{"name": "max", "match": "b"}]}, r"constraints.0.name: unknown name 'max'"),
        ({"ema": {"rate": 1}}, r"optimizer.ema.rate: unknown key"),
        ({"ema": 1.0}, r"ema.decay must be finite and in \[0, 1\)"),
    ],
)
def test_impossible_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        get_optimizer({**WORDS, **change})


def test_patterns_must_match() -> None:
    check_patterns(get_optimizer(WORDS), ["w", "b"])
    for names, words in ((["w"], "pattern 'b' matches no"), (["b", "wx"], "pattern 'w' matches no")):
        with pytest.raises(GraphError, match=words):
            check_patterns(get_optimizer(WORDS), names)
