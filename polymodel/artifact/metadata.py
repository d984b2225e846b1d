"""What an artifact says about itself, as metadata_props; keys begin with "polymodel.".

    version        of polymodel that wrote it
    graph_hash     Graph.hash of the graph inside
    roles          JSON: names of parameters and buffers in their order, and of frozen parameters
    verification   JSON: what checked the file, with versions, and the verdict; or that nothing did
    certificate    JSON: the essentials of a report of `polymodel certify`; it holds for this very file, so no export keeps it
    anything else  what the writer was told: backend, framework versions, device, seed, step

Nothing here is believed: roles count only when every name in them is a stored floating-point tensor and the hash of
the graph that results is the one that the file states. Otherwise the file is read like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from polymodel.artifact.roles import Roles
from polymodel.errors import ArtifactError
from polymodel.graph import Graph

PREFIX = "polymodel."
OWN = ("version", "graph_hash", "roles", "verification", "certificate")
_MAX_VALUE = 1 << 24  # characters


def describe_graph(graph: Graph, user: Mapping[str, str] | None, verification: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of an artifact, in a fixed order.

    Args:
        graph: what is exported; metadata that it was loaded with is kept when `user` is None.
        user: further facts; their keys get the prefix.
        verification: what `verification` will say.

    Raises:
        ArtifactError: a key is one of OWN, or a key or value is no string.
    """
    from polymodel import __version__

    facts = user_facts(graph) if user is None else dict(user)
    for key, value in facts.items():
        if key in OWN:
            raise ArtifactError(f"metadata key {key!r} is written by export itself: choose another")
        if not isinstance(key, str) or not isinstance(value, str):
            raise ArtifactError(f"metadata is text by name; received {key!r}: {value!r}")
    roles = {
        "parameters": list(graph.parameters),
        "buffers": list(graph.buffers),
        "frozen": sorted(graph.frozen),
    }
    own = {
        "version": __version__,
        "graph_hash": graph.hash,
        "roles": json.dumps(roles, separators=(",", ":")),
        "verification": json.dumps(dict(verification), separators=(",", ":")),
    }
    return {PREFIX + k: v for k, v in {**own, **dict(sorted(facts.items()))}.items()}


def user_facts(graph: Graph) -> dict[str, str]:
    """What the file that a graph came from says beyond OWN; empty for a graph that came from no file."""
    given = {k.removeprefix(PREFIX): v for k, v in graph.model.metadata_props.items() if k.startswith(PREFIX)}
    return {k: v for k, v in given.items() if k not in OWN}


def stated_roles(props: Mapping[str, str]) -> tuple[Roles, str] | None:
    """Roles and graph hash that a file states, None when it states none or something else than it should."""
    text, stated = props.get(PREFIX + "roles", ""), props.get(PREFIX + "graph_hash", "")
    if not text or len(text) > _MAX_VALUE:
        return None
    try:
        found = json.loads(text)
        lists = [found[k] for k in ("parameters", "buffers", "frozen")]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in lists):
        return None
    parameters, buffers, frozen = lists
    if len(set(parameters) | set(buffers)) != len(parameters) + len(buffers) or not set(frozen) <= set(parameters):
        return None
    return Roles(tuple(parameters), tuple(buffers), frozenset(frozen)), stated
