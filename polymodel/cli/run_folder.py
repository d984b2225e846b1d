"""The folder of a run: what was asked for, where it ran, what happened.

    config.yaml        the resolved configuration
    environment.json   one entry for each start: versions, device, command
    log.txt            a line for each epoch, and how the run ended
    history.csv        the history
    history.svg        its curves, where matplotlib is installed
    tensorboard/       event files, with tensorboard: true
    checkpoints/       see polymodel.callbacks.Checkpoints
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, final

from polymodel.callbacks.checkpoints import best
from polymodel.config import file as config_file
from polymodel.config.experiment import build_model
from polymodel.config.run import Config
from polymodel.errors import ConfigError, TrainingError
from polymodel.graph import Graph
from polymodel.training import checkpoint
from polymodel.training.matching import match_model
from polymodel.training.trainer import Trainer

_PACKAGES = ("polymodel-ml", "numpy", "onnx", "onnx-ir", "onnxruntime", "safetensors")


@final
class RunFolder:
    """Paths and files of a run.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.environment_file = path / "environment.json"
        self.log_file = path / "log.txt"
        self.checkpoints = path / "checkpoints"

    def open(self, *, resume: bool) -> None:
        """Make the folder.

        Raises:
            ConfigError: it holds a run already, which is not to be resumed.
            TrainingError: it cannot be made.
        """
        if not resume and checkpoint.latest(self.checkpoints) is not None:
            raise ConfigError(
                f"{self.path} holds a run already: --resume continues it, --output or --set output=... writes elsewhere"
            )
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(self.path, error) from error

    def record(self, config: Config, trainer: Trainer) -> None:
        """Write the resolved configuration and where it runs."""
        entry = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": sys.argv,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "backend": trainer.program.backend.name,
            "device": trainer.program.device,
            "devices": list(trainer.program.devices),
            "threads": trainer.program.backend.threads(),
            "variables": {n: v for n, v in sorted(os.environ.items()) if n.startswith(("OMP_", "POLYMODEL_"))},
            "versions": {**_versions(), **trainer.program.backend.versions()},
        }
        try:
            known = json.loads(self.environment_file.read_text()) if self.environment_file.exists() else []
            self.environment_file.write_text(json.dumps([*known, entry], indent=1) + "\n", encoding="utf-8")
            self.config_file.write_text(config_file.dump(config), encoding="utf-8")
        except (OSError, ValueError) as error:
            raise _refused(self.path, error) from error

    def log(self, line: str) -> None:
        """Add a line to the log."""
        try:
            with self.log_file.open("a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
        except OSError as error:
            raise _refused(self.log_file, error) from error

    def config(self) -> Config:
        """The resolved configuration.

        Raises:
            ConfigError: the folder holds no run.
        """
        if not self.config_file.is_file():
            raise ConfigError(f"{self.path} is no run folder: it has no config.yaml; give one of `polymodel train`")
        return config_file.read(self.config_file)

    def checkpoint(self, which: str) -> Path:
        """The checkpoint that a word or a path means.

        Raises:
            CheckpointError: there is none.
        """
        if which == "best":
            return best(self.checkpoints) or checkpoint.resolve(self.checkpoints)
        return checkpoint.resolve(self.checkpoints if which == "latest" else which)

    def trained(self, which: str) -> tuple[Graph, Path, Mapping[str, Any]]:
        """The run's inference graph with the values of a checkpoint, where those lie, and what the checkpoint says of itself.

        Raises:
            ConfigError: the folder holds no run.
            CheckpointError: there is no such checkpoint, or it is of another model.
        """
        model = build_model(self.config())
        path = self.checkpoint(which)
        state = checkpoint.load(path)
        match_model(path, state, model.graph)
        model.values = {**state.parameters, **state.buffers}
        return model.graph, path, state.record


def facts_of(record: Mapping[str, Any]) -> dict[str, str]:
    """What an artifact says about the checkpoint that it was made of."""
    backend = dict(record.get("backend", {}))
    return {
        "backend": str(backend.pop("name", "")),
        **{f"version.{n}": str(v) for n, v in backend.items()},
        "seed": str(record.get("seed")),
        "step": str(record.get("step")),
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _refused(path: Path, error: Exception) -> TrainingError:
    return TrainingError(f"cannot write {path}: {error}: free space there, or choose a writable folder with --output")
