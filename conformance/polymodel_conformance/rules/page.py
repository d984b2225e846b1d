"""docs/comparison-of-rules.md from the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polymodel_conformance.rules.measure import RHO, tally
from polymodel_conformance.rules.tolerances import RULES

_HEAD = """# Tolerance rules compared

A rule that compares numbers has two ways to fail: it calls something right wrong, or something wrong right. This page counts both,
for the rules of other projects with their published defaults and for [rho](conformance.md#when-is-a-number-near-enough), on the same
answers of the same backends. Written by

    {command}

which keeps every single judgement in `docs/comparison-of-rules.json`; `--from-record` writes this page from it, and a test compares
them. Versions: {versions}.

Right answers are {right} on {backends} backends: products, sums, normalizations and convolutions of growing length; the cases of
the suite that faults are planted in, unchanged; and changes that only round in another order. Wrong are {planted}: the suite's own
planted faults ([mutants](conformance.md#the-suites-own-score)) but those in files; one that changes no bit on a backend is left out
there. The reference is the float64 value of the oracle for every rule. No rule was tuned to this list; limits of rho come from
`calibration.json`, which other cases of correct backends set.

"""


def page(record: Mapping[str, Any]) -> str:
    """The page."""
    total = tally(record)
    rho = total[RHO]
    backends = list(record["versions"])
    versions = ", ".join(f"{k} {v}" for found in record["versions"].values() for k, v in found.items())
    lines = [_HEAD.format(
        command=record["command"], versions=versions, backends=len(backends), right=rho["right"], planted=rho["planted"],
    )]  # fmt: skip
    lines += ["| rule | float32: relative, absolute | false alarms | faults caught | " + " | ".join(backends) + " |"]
    lines += ["|---|---|---|---|" + "---|" * len(backends)]
    pairs = {r.name: "{:g}, {:g}".format(*r.tolerances["float32"]) for r in RULES}
    each = {b: tally(record, b) for b in backends}
    for name, found in total.items():
        own = " | ".join(f"{each[b][name]['alarms']}, {each[b][name]['caught']}" for b in backends)
        lines.append(
            f"| {name} | {pairs.get(name, 'computed floor')} | {found['alarms']} of {found['right']} | "
            f"{found['caught']} of {found['planted']} | {own} |"
        )
    lines += ["", "The last columns are false alarms and faults caught on each backend.", "", "## What is missed", ""]
    lines += _missed(record)
    lines += ["", "## False alarms", ""]
    lines += _alarms(record)
    lines += ["", "## Sources", ""]
    lines += [f"- {r.name}: {r.source}" for r in RULES]
    return "\n".join(lines) + "\n"


def _missed(record: Mapping[str, Any]) -> list[str]:
    """Faults caught by group."""
    planted = [r for r in record["rows"] if not r["right"]]
    groups = list(dict.fromkeys(r["group"] for r in planted))
    names = (*(r.name for r in RULES), RHO)
    head = "| about | faults | " + " | ".join(names) + " |"
    lines = ["Faults caught by what they are about:", "", head, "|---|" + "---|" * (len(names) + 1)]
    for group in groups:
        own = [r for r in planted if r["group"] == group]
        lines.append(f"| {group} | {len(own)} | " + " | ".join(str(sum(n in r["wrong"] for r in own)) for n in names) + " |")
    for rule in RULES:
        lost = sorted({r["name"] for r in planted if rule.name not in r["wrong"]})
        if lost:
            more = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
            lines += ["", f"{rule.name} misses, on one backend or more: {'; '.join(lost[:8])}{more}."]
    return lines


def _alarms(record: Mapping[str, Any]) -> list[str]:
    right = [r for r in record["rows"] if r["right"]]
    lines = []
    for name in (*(r.name for r in RULES), RHO):
        found = sorted({r["name"] for r in right if name in r["wrong"]})
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        lines.append(f"- {name}: {', '.join(f'`{n}`' for n in found[:8]) or 'none'}{more}")
    return lines
