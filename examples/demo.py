"""The main job, end to end: one configuration, three frameworks, and the proof that they did the same.

Each backend trains the network of examples/digits.yaml on the digits images of scikit-learn in a process of its own,
exports it to ONNX and verifies the file in ONNX Runtime. A checkpoint saved half-way on one backend is continued on the
next. A short conformance run compares all three. Exit code 0 only if every verdict is a pass.

    python examples/demo.py [--output demo-out] [--backends torch,tensorflow,mxnet]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).with_name("digits.yaml")
TARGET_ACCURACY = 0.97


def train(backend: str, folder: Path, start: Path | None) -> dict[str, Any]:
    """Train, evaluate, export; in the process of one backend.

    Args:
        backend: its name.
        folder: where the checkpoint half-way, the artifact and the figures go.
        start: a checkpoint of another backend to continue; None to start afresh.
    """
    from polymodel.config import experiment
    from polymodel.config import file as config_file
    from polymodel.errors import PolymodelError

    config = config_file.read(CONFIG)
    model = experiment.build_model(config)
    data = experiment.build_data(config, model)
    trainer = experiment.build_trainer(config, model, backend)
    half = config.epochs // 2
    begin = time.perf_counter()
    if start is None:
        trainer.fit(data.train, epochs=half, batch_size=config.batch_size)
        trainer.save_checkpoint(folder / "half-way")
    else:
        trainer.load_checkpoint(start)
    first = trainer.step
    restart = time.perf_counter()
    trainer.fit(data.train, epochs=config.epochs - half, batch_size=config.batch_size)
    step_ms = (time.perf_counter() - restart) / (trainer.step - first) * 1e3
    scores = trainer.evaluate(data.test)
    try:
        trainer.export(folder / "digits.onnx")
        export = "verified"
    except PolymodelError as error:
        export = f"{type(error).__name__}: {error}"
    return {**scores, "seconds": time.perf_counter() - begin, "step_ms": step_ms, "export": export}


def run_child(backend: str, folder: Path, start: Path | None = None) -> dict[str, Any]:
    """`train` in a process of its own, so that each framework has its own threads and memory."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, __file__, "--child", backend, "--output", str(folder)]
    arguments += ["--start", str(start)] if start else []
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{backend} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    """Run everything; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo-out"))
    parser.add_argument("--backends", default="torch,tensorflow,mxnet")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(train(options.child, options.output, options.start)))
        return 0
    return compare(options.backends.split(","), options.output)


def compare(backends: list[str], output: Path) -> int:
    """Train on every backend, continue across backends, run conformance, print the table."""
    import shutil

    from rich.console import Console
    from rich.table import Table

    from polymodel_conformance.run import run

    shutil.rmtree(output, ignore_errors=True)
    console = Console(width=max(Console().width, 110))  # narrower, the table would break words
    rows, chained = {}, {}
    for backend in backends:
        with console.status(f"training on {backend}"):
            rows[backend] = run_child(backend, output / backend)
        console.print(f"trained on {backend}: {rows[backend]['seconds']:.1f} s")
    for one, other in zip(backends, [*backends[1:], backends[0]], strict=True):
        with console.status(f"continuing the checkpoint of {one} on {other}"):
            chained[other] = run_child(other, output / f"{one}-{other}", output / one / "half-way")
        console.print(f"continued the checkpoint of {one} on {other}: accuracy {chained[other]['accuracy']:.2%}")
    console.print("conformance, profile smoke")
    report = run(backends=backends, profile="smoke", report_dir=output / "report")

    table = Table("backend", "accuracy", "loss", "step ms", "export", "continued from", "worst rho / C", "conformance")
    passed = report.exit_code == 0
    for i, backend in enumerate(backends):
        row, summary = rows[backend], report.backend(backend)
        fine = (
            min(row["accuracy"], chained[backend]["accuracy"]) >= TARGET_ACCURACY
            and row["export"] == chained[backend]["export"] == "verified"
            and summary.verdict == "pass"
        )
        passed &= fine
        table.add_row(
            backend, f"{row['accuracy']:.2%}", f"{row['loss']:.4f}", f"{row['step_ms']:.2f}", row["export"],
            f"{backends[i - 1]}: {chained[backend]['accuracy']:.2%}", f"{summary.worst:.2f}", summary.verdict,
        )
    console.print(table)
    console.print("every verdict is a pass" if passed else "NOT every verdict is a pass")
    print((output / "report" / "index.html").resolve())
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
