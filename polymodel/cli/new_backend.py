"""polymodel new-backend"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import Debug, Json


@reported
def new_backend(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What users will write after --backend.")],
    directory: Annotated[Path, typer.Option("--directory", help="Where the folder polymodel-NAME comes.")] = Path(),
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Write the skeleton of a backend: a package of its own with a first rule and a test that runs the suite.

    Examples:

      polymodel new-backend acme

      polymodel new-backend acme --directory ~/src
    """
    from polymodel.scaffold import write_backend

    written = write_backend(name, directory)
    if json_output:
        print(json.dumps({"files": [str(p) for p in written]}))
        return
    for path in written:
        print(path)
    print(f"next: pip install -e {written[0].parent} && python -m pytest {written[0].parent}")
