"""polymodel predict"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polymodel.cli.errors import reported
from polymodel.cli.options import BackendName, Debug, Device, Devices, Json, Which, names
from polymodel.errors import DataError


@reported
def predict(
    source: Annotated[Path, typer.Argument(metavar="RUN|MODEL.onnx", help="A run folder or an ONNX file.")],
    inputs: Annotated[Path, typer.Argument(metavar="INPUTS.npz", help="An array for each input; .npy for one.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .npz.")],
    which: Which = "best",
    backend: BackendName = None,
    device: Device = None,
    devices: Devices = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Samples computed at once.")] = 256,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Write a model's outputs for samples, on any backend.

    Examples:

      polymodel predict runs/digits-torch samples.npz -o outputs.npz

      polymodel predict net.onnx samples.npz -o outputs.npz --backend tensorflow
    """
    import numpy as np

    from polymodel.config import sources
    from polymodel.data import Samples
    from polymodel.registry import choose_backend
    from polymodel.registry import compile as lower
    from polymodel.training.devices import chosen_devices

    where: tuple[str, list[str] | None] = ("auto", None)
    if source.suffix == ".onnx":
        from polymodel.artifact.load import load_onnx

        graph, preferred = load_onnx(source), None
    else:
        from polymodel.cli.run_folder import RunFolder

        folder = RunFolder(source)
        config = folder.config()
        graph, _, _ = folder.trained(which)
        preferred, where = config.backend, (config.device, config.devices)
    given = device is not None or devices is not None
    places = chosen_devices(*((device or "auto", names(devices) or None) if given else where))
    samples = Samples.of(graph, sources.read_inputs(inputs, list(graph.inputs)))
    program = lower(graph, choose_backend(backend, preferred), places[0], devices=places if len(places) > 1 else None)
    parts = list(program.predict_each(samples.batches(batch_size)))
    result = {n: np.concatenate([p[n] for p in parts]) if len(parts) > 1 else parts[0][n] for n in graph.outputs}
    try:
        with output.open("wb") as stream:
            np.savez(stream, **result)
    except OSError as error:
        raise DataError(f"cannot write {output}: {error}") from error
    shapes = {n: list(a.shape) for n, a in result.items()}
    if json_output:
        print(json.dumps({"output": str(output), "samples": samples.count, "shapes": shapes}))
    else:
        print(f"{samples.count} samples: {', '.join(f'{n} {s}' for n, s in shapes.items())} written to {output}")
