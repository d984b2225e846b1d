"""The commands put together."""

from __future__ import annotations

from typing import Annotated

import typer

from polymodel import __version__
from polymodel.cli.backends import backends
from polymodel.cli.bench import bench
from polymodel.cli.certify import certify
from polymodel.cli.compare import compare
from polymodel.cli.conformance import conformance
from polymodel.cli.doctor import doctor
from polymodel.cli.evaluate import evaluate
from polymodel.cli.export import export
from polymodel.cli.finetune import finetune
from polymodel.cli.inspect import inspect
from polymodel.cli.new_backend import new_backend
from polymodel.cli.predict import predict
from polymodel.cli.reduce import reduce
from polymodel.cli.train import train
from polymodel.cli.verify import verify

app = typer.Typer(
    name="polymodel",
    help="One model and one trainer on TensorFlow, PyTorch and Apache MXNet, proven equivalent through ONNX.",
    epilog="Exit codes: 0 done, 1 failed, 2 asked for something impossible, 3 something is not installed here.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    train, finetune, evaluate, predict, export, inspect, verify, compare, certify, conformance, reduce, bench, backends, doctor,
    new_backend,
):  # fmt: skip
    app.command()(_command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"polymodel {__version__}")
        raise typer.Exit


def _rules(modules: list[str] | None) -> None:
    if modules:
        from polymodel.user_modules import add_rules

        add_rules(modules)


@app.callback()
def root(
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--rules",
            metavar="MODULE",
            callback=_rules,
            help="Module or file.py with pm.rule of your own operators, for every process of the command; repeatable. "
            "POLYMODEL_RULES names them likewise.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
