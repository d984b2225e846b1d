"""polymodel bench"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import BackendNames, Debug, Json, names


@reported
def bench(
    models: Annotated[
        str | None, typer.Option("--models", help="Names with commas between; all five by default.")
    ] = None,
    backends: BackendNames = None,
    optimizers: Annotated[str | None, typer.Option("--optimizers", help="sgd, adam or both; both by default.")] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Interleaved pairs of timed blocks.")] = 5,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Time training steps against the best hand-written native loop of the same framework, interleaved.

    Examples:

      polymodel bench --backends torch --models mlp,lenet

      polymodel bench --json
    """
    from polymodel.bench import run_bench
    from polymodel.models import REFERENCE
    from polymodel.registry import backends as registered

    rows = run_bench(
        names(models) or list(REFERENCE),
        names(backends) or list(registered()),
        names(optimizers) or ["sgd", "adam"],
        pairs,
    )
    if json_output:
        print(json.dumps(rows))
        return
    print(f"{'model':<12} {'backend':<11} {'opt':<5} {'ratio':>6} {'min':>6} {'max':>6} {'step ms':>9} {'native':>9}")
    for r in rows:
        print(
            f"{r['model']:<12} {r['backend']:<11} {r['optimizer']:<5} {r['ratio']:>6.3f} {r['ratio_min']:>6.3f} "
            f"{r['ratio_max']:>6.3f} {r['step_ms']:>9.3f} {r['native_ms']:>9.3f}  {r['mode']} / {r['native_mode']}"
        )
