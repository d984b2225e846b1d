"""polymodel finetune"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import BackendName, Debug, Device, Devices, Json, names


@reported
def finetune(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to train, of any exporter.")],
    data: Annotated[
        str | None, typer.Option("--data", help=".npz, .csv or sklearn:NAME, as in the configuration of train.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="Array or column of the targets.")] = "target",
    scale: Annotated[float, typer.Option("--scale", help="What the features of a table are multiplied with.")] = 1.0,
    validation: Annotated[
        str | None, typer.Option("--validation", help="A share of the samples to set aside, or another data source.")
    ] = None,
    backend: BackendName = None,
    device: Device = None,
    devices: Devices = None,
    train: Annotated[
        list[str] | None,
        typer.Option("--train", help="auto, all, none, or tensor names with wildcards; commas between, repeatable."),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option("--outputs", help="Tensors that the model returns, of any place in the graph.")
    ] = None,
    replace_head: Annotated[
        str | None, typer.Option("--replace-head", metavar="TENSOR", help="Cut the file here, put a new head behind.")
    ] = None,
    classes: Annotated[int | None, typer.Option("--classes", help="Classes of the new head.")] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option("--fix", metavar="INPUT=NUMBER", help="Fill an input with a number for good; repeatable."),
    ] = None,
    loss: Annotated[str, typer.Option("--loss", help="cross_entropy, bce_with_logits or mse.")] = "cross_entropy",
    loss_output: Annotated[
        str | None, typer.Option("--loss-output", metavar="NAME", help="Output that the loss sees; the first by default.")
    ] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", help="Names with commas between.")] = None,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd, adam, adamw, rmsprop, lion, ...; wrong names list all.")] = "adam",
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate; the optimizer's own by default.")] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 32,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of new layers, shuffles and dropout masks.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder of the run; default runs/MODEL-BACKEND.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE.onnx", help="Write the trained model, verified.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be trained, and why.")] = False,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Train an ONNX file of any exporter on any backend, and write it again.

    Examples:

      polymodel finetune net.onnx --dry-run

      polymodel finetune net.onnx --data samples.npz --backend mxnet --train "fc.*" --lr 1e-3 --export tuned.onnx

      polymodel finetune net.onnx --data samples.npz --replace-head features --classes 5 --train "head.*"
    """
    from polymodel.config import file as config_file
    from polymodel.config.experiment import build_data, build_model, build_trainer
    from polymodel.config.run import check
    from polymodel.errors import ConfigError
    from polymodel.registry import choose_backend

    if data is None and not dry_run:
        raise ConfigError("--data is missing: give samples to train on, or --dry-run to see what would be trained")
    settings: dict[str, Any] = {
        "model": {
            "onnx": str(model),
            "trainable": _trainable(train),
            "outputs": names(outputs) or None,
            "replace_head": replace_head,
            "classes": classes,
            "fix": _fixed(fix),
        },
        "data": {"source": data or "none", "target": target, "scale": scale, "validation": _validation(validation)},
        "loss": loss,
        "loss_output": loss_output,
        "metrics": names(metrics),
        "optimizer": {"name": optimizer, **({} if lr is None else {"lr": lr})},
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
    }
    resolved = config_file.absolute(check(settings, "polymodel finetune"), Path.cwd())
    made = build_model(resolved)
    report = made.trainable_report
    if dry_run:
        if json_output:
            print(json.dumps({"model": str(model), "outputs": list(made.graph.outputs), "tensors": report.to_list()}))
        else:
            _show(report)
        return

    from polymodel.cli.training_run import run

    name = choose_backend(backend, resolved.backend)
    place = output or Path(f"runs/{model.stem}-{name}")
    resolved = resolved.model_copy(update={"output": str(place), "backend": name})
    samples = build_data(resolved, made)
    trainer = build_trainer(resolved, made, name, device, names(devices))
    if not json_output:
        _show(report)
    run(resolved, place, trainer, samples, resume=resume, json_output=json_output, export=export)


def _show(report: Any) -> None:
    from polymodel.cli.output import show

    show(report.__rich__())


def _trainable(given: list[str] | None) -> str | list[str]:
    patterns = [p for text in given or ["auto"] for p in names(text)]
    return patterns[0] if len(patterns) == 1 and patterns[0] in ("auto", "all", "none") else patterns


def _validation(text: str | None) -> float | str | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _fixed(given: list[str] | None) -> dict[str, float] | None:
    from polymodel.errors import ConfigError

    found: dict[str, float] = {}
    for text in given or ():
        name, equals, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"--fix {text}: expected INPUT=NUMBER")
    return found or None
