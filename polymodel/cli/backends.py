"""polymodel backends"""

from __future__ import annotations

import json

from polymodel.cli.errors import reported
from polymodel.cli.options import Debug, Json


@reported
def backends(json_output: Json = False, debug: Debug = False) -> None:
    """List backends: version, devices, threads, and why one is not usable.

    Examples:

      polymodel backends

      polymodel backends --json
    """
    from polymodel.cli.probe import probe
    from polymodel.registry import backends as registered

    found = probe(registered())
    if json_output:
        print(json.dumps(found))
        return
    for entry in found:
        if not entry["usable"]:
            print(f"{entry['name']:<12} not usable: {entry['reason']}")
            continue
        versions = ", ".join(f"{n} {v}" for n, v in entry["versions"].items())
        print(f"{entry['name']:<12} {versions}")
        print(f"{'':<12} devices {', '.join(entry['devices'])}; threads {entry['threads']}; "
              f"compile {', '.join(entry['compile'])}; {entry['operators']} operators")
        for note in entry["notes"]:
            print(f"{'':<12} note: {note}")
