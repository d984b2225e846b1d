"""Refuse a plan with a value that no memory holds, before a framework tries: some kill the process, some never end."""

from __future__ import annotations

import os
from functools import cache

from polymodel.errors import GraphError
from polymodel.plan import Plan
from polymodel.spec import numpy_dtype


def check_memory(plan: Plan) -> None:
    """See that each value that a plan makes fits into the memory of this machine.

    Raises:
        GraphError: one is larger.
    """
    most = memory()
    for node in plan.nodes:
        for name, spec in zip(node.output_names, node.outputs, strict=True):
            if not name or not spec.is_static or spec.dtype == "string":
                continue
            size = spec.size * numpy_dtype(spec.dtype).itemsize
            if size > most:
                raise GraphError(
                    f"{node} makes {name!r} {spec} of {size / 2**30:,.0f} GiB; this machine has {most / 2**30:,.0f} GiB of memory: "
                    "the graph asks for a wrong size, or for another machine"
                )


@cache
def memory() -> int:
    """Bytes of physical memory; without bound where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 1 << 62
