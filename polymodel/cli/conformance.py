"""polymodel conformance"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import BackendNames, Debug, Json, interpreters, names
from polymodel.errors import BackendUnavailable, ConfigError

SUITES = ("levels", "onnx", "random")


@reported
def conformance(
    backends: BackendNames = None,
    suite: Annotated[
        str,
        typer.Option(
            "--suite", help="levels (the project's own), onnx (the official tests of the standard), random (random graphs)."
        ),
    ] = "levels",
    profile: Annotated[
        str, typer.Option("--profile", help="smoke (well under a minute), quick (minutes), full or exhaustive.")
    ] = "quick",
    levels: Annotated[str | None, typer.Option("--levels", help="Numbers 0 to 12 with commas between.")] = None,
    match: Annotated[str, typer.Option("--match", help="Only cases whose id contains this.")] = "",
    operators: Annotated[str | None, typer.Option("--operators", help="Only cases about these, commas between.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="Only cases with values of this element type.")] = None,
    shard: Annotated[str | None, typer.Option("--shard", metavar="K/N", help="The K-th of N parts, from 1.")] = None,
    report: Annotated[
        Path, typer.Option("--report", help="Folder for index.html, report.json and junit.xml.")
    ] = Path("conformance-report"),
    python: Annotated[
        list[str] | None,
        typer.Option("--python", metavar="BACKEND=PATH", help="Interpreter of a backend's worker; repeatable."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Where the programs run.")] = "cpu",
    mutants: Annotated[
        bool | None,
        typer.Option(
            "--mutants/--no-mutants", help="Plant known faults and print how many are caught; by default at level 0 of the full profile."
        ),
    ] = None,
    graphs: Annotated[int | None, typer.Option("--graphs", min=1, help="For --suite random: how many (500).")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of what is drawn: inputs, batches, graphs (0).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in the report's folder.")] = False,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="report.json of an older run: what became worse fails this one.")
    ] = None,
    first: Annotated[int | None, typer.Option("--first", min=0, help="For --suite random: number of the first graph (0).")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="For --suite random: workers of each backend (1).")] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", help="For --suite random: a file that gathers the run in pieces; run again, it goes on."),
    ] = None,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Compare backends with the standard and with each other: code 1 when something failed, 3 when one is missing.

    Examples:

      polymodel conformance --backends torch,mxnet --report report

      polymodel conformance --profile full --python mxnet=/opt/mxnet/bin/python

      polymodel conformance --profile smoke --levels 1,5 --json

      polymodel conformance --profile smoke --mutants

      polymodel conformance --operators Conv,ConvTranspose --dtype float64 --seed 7

      polymodel conformance --profile full --shard 1/4 --resume --baseline last-week/report.json

      polymodel conformance --suite onnx --backends torch --match attention

      polymodel conformance --suite random --graphs 20000 --seed 0 --backends torch,mxnet --jobs 2 --record run.json
    """
    from polymodel.registry import backends as registered

    try:
        from polymodel_conformance.run import run
        from polymodel_conformance.selection import Selection, UsageError, parse_shard
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"no conformance suite ({error}): pip install -e . in a checkout") from error

    pythons = interpreters(python)
    if not all(n.isdigit() for n in names(levels)):
        raise ConfigError(f"--levels {levels}: expected numbers with commas between")
    asked = names(backends) or list(registered())
    if suite not in SUITES:
        raise ConfigError(f"unknown suite {suite!r}; expected one of {', '.join(SUITES)}")
    if suite != "random" and any(v is not None for v in (graphs, first, jobs, record)):
        raise ConfigError("--graphs, --first, --jobs, --record: only for --suite random")
    if first and record is not None:
        raise ConfigError("--first: not with --record, which knows where it was")
    part = {"--operators": operators, "--dtype": dtype, "--shard": shard, "--resume": resume, "--baseline": baseline}
    if suite == "random":
        only = {"--profile": profile != "quick", "--levels": levels, "--match": match, "--mutants": mutants is not None, **part}
        if given := [option for option, is_given in only.items() if is_given]:
            raise ConfigError(f"{', '.join(given)}: not for --suite random")
        from polymodel.cli.random_suite import random_suite

        random_suite(
            asked, graphs or 500, seed or 0, report, pythons, device,
            first=first or 0, jobs=jobs or 1, record=record, as_json=json_output,
        )
        return
    if suite == "onnx":
        only = {"--profile": profile != "quick", "--levels": levels, "--device": device != "cpu", "--mutants": mutants is not None, **part}
        only["--seed"] = seed is not None
        if given := [option for option, is_given in only.items() if is_given]:
            raise ConfigError(f"{', '.join(given)}: only for --suite levels")
        from polymodel.cli.official_suite import official_suite

        official_suite(asked, match, report, pythons, as_json=json_output)
        return
    try:
        found = run(
            asked,
            profile,
            [int(n) for n in names(levels)] or None,
            report,
            pythons=pythons,
            device=device,
            selection=Selection(
                match, frozenset(names(operators)), dtype, (1, 1) if shard is None else parse_shard(shard)
            ),
            seed=seed or 0,
            mutants=mutants,
            resume=resume,
            baseline=baseline,
            quiet=True if json_output else None,
        )
    except UsageError as error:
        raise ConfigError(str(error)) from None
    print(json.dumps({**found.summary(), "report": str(report)}) if json_output else str(found).rstrip())
    if found.exit_code:
        raise typer.Exit(found.exit_code)
