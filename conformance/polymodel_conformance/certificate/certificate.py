"""The report of a certification: what it holds, its hash, and its essentials for the metadata of the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

SCHEMA = "polymodel-certificate/1"
_MARK = '<script type="application/json" id="certificate">'
_HASH = "report_sha256"


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A report with the hash of everything else in it."""
    return {**content, _HASH: hash_of(content)}


def hash_of(report: Mapping[str, Any]) -> str:
    """SHA-256 of a report without its own hash: JSON with sorted keys, without spaces, in UTF-8."""
    content = {k: v for k, v in report.items() if k != _HASH}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def essentials(report: Mapping[str, Any]) -> str:
    """What goes into the metadata of the certified file."""
    kept = {
        "schema": report["schema"],
        "verdict": report["verdict"],
        "created": report["created"],
        "model_sha256": report["model"]["sha256"],
        "external_sha256": report["model"]["external_sha256"],
        "sides": {name: side["verdict"] for name, side in report["sides"].items()},
        _HASH: report[_HASH],
    }
    return json.dumps(kept, separators=(",", ":"))


def page(report: Mapping[str, Any]) -> str:
    """The report as one HTML page that needs nothing else and holds the JSON too."""
    environment = Environment(
        loader=PackageLoader("polymodel_conformance.certificate", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    text = json.dumps(report, indent=1).replace("<", "\\u003c")
    return environment.get_template("certificate.html").render(report=report, mark=_MARK, text=text)


def parse(text: str) -> tuple[dict[str, Any], str]:
    """The report in a JSON document or an HTML page, and what is wrong with its form, "" when nothing is.

    The words of a page are compared with those that its data give: a page cannot show anything else than it holds.
    """
    inside = text.partition(_MARK)[2].partition("</script>")[0] if _MARK in text else text
    try:
        report = json.loads(inside)
    except (ValueError, RecursionError):
        return {}, "it is neither a JSON report nor a page of polymodel certify"
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        return {}, f"its schema is not {SCHEMA}"
    if report.get(_HASH) != hash_of(report):
        return report, "its content does not have the hash that it states: it was changed"
    try:
        changed = _MARK in text and page(report) != text
    except Exception as error:  # whatever the template misses
        return report, f"it lacks something: {error}"
    return report, "the page shows something else than its data, or another version wrote it" if changed else ""
