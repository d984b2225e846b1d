"""rules.py: which rule lowers which call."""

from __future__ import annotations

from typing import Any

import pytest

from polymodel.builder import Builder
from polymodel.errors import Unsupported
from polymodel.passes.specialize import specialize
from polymodel.plan import Node
from polymodel.rules import RuleTable
from polymodel.spec import TensorSpec


def node(op_type: str) -> Node:
    b = Builder()
    with b.active():
        b.output("y", b.op(op_type, b.input("x", TensorSpec((2,)))))
    return specialize(b.finish(), ["y"]).nodes[0]


def lower(version: int) -> Any:
    return lambda node, x: version


def test_the_newest_rule_that_is_not_newer_than_the_call() -> None:
    table = RuleTable("test")
    for since in (1, 13, 24):
        table.rule("Relu", "Neg", since=since)(lower(since))
    rule = table.find(node("Relu"))  # version 14 is in force at opset 23
    assert rule.since == 13
    assert rule.function(None, None) == 13
    assert table.find(node("Neg")).since == 13
    assert ("", "Relu") in table
    assert sorted(table) == [("", "Neg"), ("", "Relu")]
    assert len(table) == 2


@pytest.mark.parametrize("since", [None, 24])
def test_no_rule_is_an_error_with_the_call(since: int | None) -> None:
    table = RuleTable("test")
    if since is not None:
        table.rule("Relu", since=since)(lower(since))
    with pytest.raises(Unsupported, match=r"backend 'test' has no rule for ai\.onnx::Relu .*Relu\(float32\[2\]\)"):
        table.find(node("Relu"))


def test_domains_are_apart() -> None:
    table = RuleTable("test")
    table.rule("Relu", since=1, domain="polymodel")(lower(1))
    assert ("", "Relu") not in table
    assert ("polymodel", "Relu") in table


def test_two_rules_for_one_version_are_refused() -> None:
    table = RuleTable("test")
    table.rule("Relu", since=14)(lower(14))
    with pytest.raises(ValueError, match="test has two rules for ::Relu since 14"):
        table.rule("Relu", since=14)(lower(14))


def test_host_rules_are_marked() -> None:
    table = RuleTable("test")
    table.rule("Relu", since=14, host=True)(lower(14))
    assert table.find(node("Relu")).host


def test_a_rule_takes_the_calls_that_it_says() -> None:
    table = RuleTable("test")
    table.rule("Relu", "Neg", since=1, when=lambda call: call.op_type == "Neg")(lower(1))
    assert table.find(node("Neg")).since == 1
    with pytest.raises(Unsupported, match="no rule"):
        table.find(node("Relu"))
