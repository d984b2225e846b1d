"""Steps of the benchmarked models, measured against the best hand-written loop of the same framework.

1. For each (backend, model, optimizer) a child process opens the program that polymodel compiles and the native loops
   of the backend's package; a short run picks the best native mode, unless one is named.
2. Blocks of steps alternate, polymodel, native, polymodel, native; each ends by reading the loss. Both sides get fresh
   NumPy batches and the same number of threads.
3. The ratio of a pair is time of polymodel / time of native; reported are the median of the ratios, the smallest and
   the largest. Absolute times drift by tens of percent on shared machines; the ratios of neighbours do not.
   The same is said of CPU time, which neighbours on the machine change less; it means something with one thread.
4. Tasks: "train" is a training step, "fit" one inside Trainer.fit with a metric, callbacks and a loader that shuffles, against the
   native loop of "train", which has none of that; "predict" a prediction of the logits, "import" the way from an ONNX
   file to the first prediction, once, in a fresh process that has imported the framework; the last has no native side.
   The reference models have "train" and "fit", the imported models all but "fit". These come as ONNX files that
   torch.onnx.export writes from the hand-written PyTorch networks; each of their loops has a process of its own.
5. A machine is quiet when other processes use little of it; a row that was not measured so says it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias, final

from polymodel.bench import quiet
from polymodel.errors import ConfigError
from polymodel.models.imported import IMPORTED
from polymodel.registry import choose_backend

if TYPE_CHECKING:
    from rich.table import Table

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with rows done, rows in all, and what is going on."""

OPTIMIZERS = ("sgd", "adam")
TASKS = ("train", "fit", "predict", "import")
_TIMEOUT = 900  # seconds for one answer; compilers may take minutes
_TRIAL = 0.4  # seconds that each native mode gets in the pre-selection
_EPOCH = 10  # steps of the shortest epoch that a fit is timed by: an epoch begins and ends with work of its own


def run_bench(
    models: Sequence[str],
    backends: Sequence[str],
    optimizers: Sequence[str] = OPTIMIZERS,
    pairs: int = 7,
    *,
    threads: int = 2,
    seconds: float = 6.0,
    native_mode: str | None = None,
    mode: str = "auto",
    device: str = "cpu",
    patience: float = 10.0,
    tasks: Sequence[str] = ("train",),
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Measure.

    Args:
        models: names of reference models or imported models.
        backends: names of backends.
        optimizers: "sgd" (0.01, momentum 0.9), "adam" (1e-3).
        pairs: interleaved pairs of blocks.
        threads: threads of one operator, on both sides.
        seconds: time for the pairs of one row.
        native_mode: mode of the native loop; the best of the backend's own list when None.
        mode: CompileOptions.compile of the program.
        device: where both run.
        patience: seconds to wait for a quiet machine before each row.
        tasks: "train", "fit", "predict", "import"; the latter two have no optimizer, "" in their rows.
        progress: told about each row.

    Returns:
        One row for each combination: model, backend, task, optimizer, mode, native_mode, ratio, ratio_min, ratio_max,
        cpu_ratio, pairs, step_ms, native_ms, first_step_s, peak_mb, native_peak_mb, other_cpu, quiet. A row of "import"
        has model, backend, task, optimizer, mode, import_s (reading the file), first_step_s (all), cpu_s, again_s (a
        second prediction), peak_mb, other_cpu, quiet. One that failed has model, backend, task, optimizer, error.

    Raises:
        ConfigError, UnknownBackend: a name is unknown.
    """
    from polymodel.models import REFERENCE

    for name in models:
        if name not in REFERENCE and name not in IMPORTED:
            raise ConfigError(f"unknown model {name!r}; expected one of {', '.join((*REFERENCE, *IMPORTED))}")
    for name in optimizers:
        if name not in OPTIMIZERS:
            raise ConfigError(f"unknown optimizer {name!r}; expected one of {', '.join(OPTIMIZERS)}")
    for name in tasks:
        if name not in TASKS:
            raise ConfigError(f"unknown task {name!r}; expected one of {', '.join(TASKS)}")
        if name != "train":
            suited = list(REFERENCE if name == "fit" else IMPORTED)
            for other in (m for m in models if m not in suited):
                raise ConfigError(f"task {name!r} is measured on {', '.join(suited)}; received {other!r}")
    if pairs < 1:
        raise ConfigError(f"pairs is at least 1, received {pairs}")
    engines = [choose_backend(b) for b in backends]
    wanted = [
        (model, backend, task, optimizer)
        for model in models
        for backend in engines
        for task in tasks
        for optimizer in (optimizers if task in ("train", "fit") else ("",))
    ]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for model, backend, task, optimizer in wanted:
            if progress is not None:
                words = " with ".join(w for w in (task, optimizer) if w)
                progress(len(rows), len(wanted), f"{model} on {backend}: {words}")
            who = {"model": model, "backend": backend, "task": task, "optimizer": optimizer}
            try:
                file = _file(model, Path(folder))
                common = {**who, "threads": threads, "device": device, "file": file}
                quiet.wait_until_quiet(patience=patience)
                rows.append(_import_row(common, mode) if task == "import" else _row(common, mode, native_mode, pairs, seconds))
            except _Failed as error:
                rows.append({**who, "error": str(error)})
    if progress is not None:
        progress(len(rows), len(wanted), "done")
    return rows


def _file(model: str, folder: Path) -> str | None:
    """The ONNX file of an imported model, written once."""
    if model not in IMPORTED:
        return None
    path = folder / f"{model}.onnx"
    if not path.exists():
        with Child(1) as child:
            child.ask(do="write", backend="torch", model=model, file=str(path))
    return str(path)


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows for people, to be printed with rich."""
    from rich.table import Table

    loud = sum(not row.get("quiet", True) for row in rows)
    note = f"! {loud} row(s) were measured while the machine was not quiet" if loud else "the machine was quiet"
    table = Table(title="step time: polymodel / best native loop", caption=note)
    for head in ("model", "backend", "task", "mode", "native"):
        table.add_column(head)
    for head in ("ratio", "min", "max", "CPU ratio", "step ms", "native ms", "first step s", "peak MiB"):
        table.add_column(head, justify="right")
    for row in rows:
        who = (row["model"], row["backend"], " ".join(w for w in (row["optimizer"], row["task"]) if w and w != "train"))
        if "error" in row:
            table.add_row(*who, "", "", "error", row["error"])
            continue
        mark = "" if row["quiet"] else " !"
        rest = [f"{row['first_step_s']:.2f}", f"{row['peak_mb']:.0f}"]
        if row["task"] == "import":
            table.add_row(*who, row["mode"], *[""] * 7, rest[0] + mark, rest[1])
            continue
        ratios = [f"{row[k]:.3f}" for k in ("ratio", "ratio_min", "ratio_max", "cpu_ratio")]
        rest = [f"{row['step_ms']:.3g}", f"{row['native_ms']:.3g}", *rest]
        table.add_row(*who, row["mode"], row["native_mode"], ratios[0] + mark, *ratios[1:], *rest)
    return table


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """A progress bar with the time left, on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def report(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text)

        yield report


@final
class _Failed(Exception):
    """A loop could not be opened or stopped; the row carries the message."""


def _row(common: dict[str, Any], mode: str, native_mode: str | None, pairs: int, seconds: float) -> dict[str, Any]:
    with Child(common["threads"]) as child:
        ours = child.ask(do="open", side="polymodel", mode=mode, **common)
        known = child.ask(do="modes", backend=common["backend"], model=common["model"], task=common["task"])
        modes = known["modes"] if native_mode is None else [native_mode]
        best = modes[0] if len(modes) == 1 else _best_mode(child, common, modes, known["isolated"])
        with _home(child, best in known["isolated"] or common["file"] is not None, common["threads"]) as other:
            native = other.ask(do="open", side="native", mode=best, **common)
            block = seconds / (2 * pairs)
            least = _EPOCH if common["task"] == "fit" else 1
            steps = [max(least, _steps(child, ours["key"], block)), max(least, _steps(other, native["key"], block))]
            blocks = [
                (
                    child.ask(do="block", key=ours["key"], steps=steps[0]),
                    other.ask(do="block", key=native["key"], steps=steps[1]),
                )
                for _ in range(pairs)
            ]
    ratios = [a["ms"] / b["ms"] for a, b in blocks]
    share = median([block["other_cpu"] for pair in blocks for block in pair])
    return {
        **{k: common[k] for k in ("model", "backend", "task", "optimizer")},
        "mode": ours["mode"],
        "native_mode": best,
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "cpu_ratio": median(a["cpu_ms"] / b["cpu_ms"] for a, b in blocks),
        "pairs": pairs,
        "step_ms": median(a["ms"] for a, _ in blocks),
        "native_ms": median(b["ms"] for _, b in blocks),
        "first_step_s": ours["first_step_s"],
        "peak_mb": ours["peak_mb"],
        "native_peak_mb": native["peak_mb"],
        "other_cpu": share,
        "quiet": share <= quiet.LIMIT,
    }


def _import_row(common: dict[str, Any], mode: str) -> dict[str, Any]:
    with Child(common["threads"]) as child:
        found = child.ask(do="import", mode=mode, **common)
    return {
        **{k: common[k] for k in ("model", "backend", "task", "optimizer")},
        "mode": mode,
        "first_step_s": found["first_s"],
        **{k: found[k] for k in ("import_s", "cpu_s", "again_s", "peak_mb", "other_cpu")},
        "quiet": found["other_cpu"] <= quiet.LIMIT,
    }


def _best_mode(child: Child, common: dict[str, Any], modes: Sequence[str], isolated: Sequence[str]) -> str:
    """The fastest native mode in a short run."""
    times: dict[str, float] = {}
    for mode in modes:
        with _home(child, mode in isolated, common["threads"]) as home:
            key = home.ask(do="open", side="native", mode=mode, **common)["key"]
            steps = _steps(home, key, _TRIAL / 2)
            times[mode] = min(home.ask(do="block", key=key, steps=steps)["ms"] for _ in range(2))
            home.ask(do="close", key=key)
    return min(times, key=times.__getitem__)


def _steps(child: Child, key: str, seconds: float) -> int:
    """How many steps fill a block."""
    ms: float = child.ask(do="block", key=key, steps=1)["ms"]
    if ms < seconds * 1e3:
        ms = min(child.ask(do="block", key=key, steps=2)["ms"] for _ in range(3))
    return max(1, round(seconds * 1e3 / ms))


@contextmanager
def _home(child: Child, isolated: bool, threads: int) -> Iterator[Child]:
    """The process in which a native mode runs: its own where it cannot share one."""
    if not isolated:
        yield child
        return
    with Child(threads) as own:
        yield own


@final
class Child:
    """A process of bench_worker.py.

    Args:
        threads: OMP_NUM_THREADS of the process.
    """

    def __init__(self, threads: int) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "polymodel.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            _Failed: the answer is an error, or there is none.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise _Failed(self._last_words()) from None
        if not select.select([self._process.stdout], [], [], _TIMEOUT)[0]:
            raise _Failed(f"no answer to {command['do']!r} within {_TIMEOUT} s")
        line = self._process.stdout.readline()
        if not line:
            raise _Failed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _Failed(f"{answer['kind']}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"the process ended with code {code}: {lines[-1] if lines else 'no message'}"
