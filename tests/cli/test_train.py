"""polymodel train: the run folder, resuming, choosing a backend, refusing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from polymodel.config import file as config_file
from polymodel.training import checkpoint


def test_a_run_folder_is_complete(polymodel: Any, work: Path) -> None:
    done = polymodel("train", work / "config.yaml", "--output", work / "run")
    assert done.code == 0, done.err
    run = work / "run"
    files = {p.name for p in run.iterdir()} - {"history.svg"}  # which needs matplotlib
    assert files == {"config.yaml", "environment.json", "log.txt", "history.csv", "checkpoints"}
    assert config_file.read(run / "config.yaml").output == str(run)
    started = json.loads((run / "environment.json").read_text())
    assert len(started) == 1
    assert started[0]["backend"] == "torch"
    assert "torch" in started[0]["versions"]
    with (run / "history.csv").open() as stream:
        assert len(list(csv.reader(stream))) == 4
    assert "epoch 3/3" in (run / "log.txt").read_text()
    assert done.out.splitlines()[-1] == f"run folder: {run}"
    assert checkpoint.latest(run / "checkpoints") is not None


def test_json(polymodel: Any, work: Path) -> None:
    found = polymodel("train", work / "config.yaml", "--output", work / "run", "--json").json
    assert (found["backend"], found["device"], len(found["history"])) == ("torch", "cpu", 3)
    assert set(found["test"]) == {"loss", "accuracy"}
    assert Path(found["checkpoint"]).parent == work / "run/checkpoints"


def test_options_of_training(polymodel: Any, work: Path) -> None:
    """What the configuration says reaches the trainer, is kept in the run folder, and is found again by evaluate."""
    options = {
        "metrics": "[accuracy, f1, confusion_matrix]",
        "optimizer": "{name: adam, lr: 0.01, groups: [{match: '*bias', lr: 0.001}], ema: 0.5}",
        "accumulate": "2",
        "regularizers": "[{match: '*weight', l2: 0.001}]",
        "reduce_on_plateau": "{monitor: loss, patience: 1, min_delta: 100, factor: 0.5}",
    }
    changes = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    found = polymodel("train", work / "config.yaml", "--output", work / "run", *changes, "--json").json
    assert [round(row["lr"], 6) for row in found["history"]] == [0.01, 0.01, 0.005]
    assert "val_f1" in found["history"][-1]
    assert sum(map(sum, found["test"]["confusion_matrix"])) > 0
    state = checkpoint.load(work / "run/checkpoints")
    assert {n.partition("/")[0] for n in state.slots} == {"exp_avg", "exp_avg_sq", "ema"}
    again = polymodel("evaluate", work / "run", "--json").json
    assert again["confusion_matrix"] == found["test"]["confusion_matrix"]
    assert "confusion_matrix [[" in polymodel("evaluate", work / "run").out
    wrong = polymodel("train", work / "config.yaml", "--output", work / "b", "--set", "regularizers=[{match: a}]")
    assert "give l1 or l2" in wrong.err


def test_several_devices(polymodel: Any, work: Path) -> None:
    """A run on two devices resumes on one, and is evaluated and predicts on either."""
    config = work / "config.yaml"
    two = ("--devices", "cpu:0,cpu:1")
    found = polymodel("train", config, "--output", work / "a", "--set", "epochs=2", *two)
    assert "training on torch (cpu:0, cpu:1)" in found.out
    polymodel("train", config, "--output", work / "a", "--resume")
    assert [entry["devices"] for entry in json.loads((work / "a/environment.json").read_text())] == [["cpu:0", "cpu:1"], ["cpu"]]
    places = ((), two, ("--device", "cpu"))
    scores = [polymodel("evaluate", work / "a", *place, "--json").json for place in places]
    assert scores[0] == scores[1] == scores[2]
    changes = [word for change in ("device=auto", "devices=[cpu:0, cpu:1]", "epochs=1") for word in ("--set", change)]
    done = polymodel("train", config, "--output", work / "b", *changes)
    assert "(cpu:0, cpu:1)" in done.out
    assert "done on torch (cpu)" in polymodel("train", config, "--output", work / "c", "--set", "epochs=1").out


def test_a_resumed_run_ends_as_an_uninterrupted_one(polymodel: Any, work: Path) -> None:
    config = work / "config.yaml"
    whole = polymodel("train", config, "--output", work / "a", "--json").json
    polymodel("train", config, "--output", work / "b", "--set", "epochs=1")
    done = polymodel("train", config, "--output", work / "b", "--resume", "--json")
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in r["history"]] for r in (whole, done.json)]
    assert rows[0] == rows[1]
    a, b = (checkpoint.load(work / f"{n}/checkpoints") for n in "ab")
    assert all(a.parameters[n].tobytes() == b.parameters[n].tobytes() for n in a.parameters)
    assert len(json.loads((work / "b/environment.json").read_text())) == 2


def test_resume_without_a_checkpoint_starts(polymodel: Any, work: Path) -> None:
    done = polymodel("train", work / "config.yaml", "--output", work / "run", "--resume")
    assert done.code == 0
    assert "starting at the beginning" in done.out


def test_from_a_checkpoint_elsewhere(polymodel: Any, work: Path) -> None:
    polymodel("train", work / "config.yaml", "--output", work / "a", "--set", "epochs=1")
    start = checkpoint.latest(work / "a/checkpoints")
    done = polymodel("train", work / "config.yaml", "--output", work / "b", "--resume-from", start, "--json")
    assert [row["epoch"] for row in done.json["history"]] == [1, 2, 3]


def test_a_folder_with_a_run_is_not_overwritten(polymodel: Any, work: Path) -> None:
    polymodel("train", work / "config.yaml", "--output", work / "run")
    before = (work / "run/history.csv").read_bytes()
    done = polymodel("train", work / "config.yaml", "--output", work / "run")
    assert done.code == 2
    assert "--resume continues it" in done.err
    assert (work / "run/history.csv").read_bytes() == before


def test_print_config_does_nothing_else(polymodel: Any, work: Path) -> None:
    before = set(work.iterdir())
    done = polymodel("train", work / "config.yaml", "--print-config", "--set", "optimizer.lr=0.5")
    assert "lr: 0.5" in done.out
    (work / "again.yaml").write_text(done.out)
    assert config_file.read(work / "again.yaml") == config_file.read(work / "config.yaml", ["optimizer.lr=0.5"])
    assert set(work.iterdir()) == before | {work / "again.yaml"}


def test_flag_before_variable_before_file(polymodel: Any, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(*more: str) -> str:
        return str(polymodel("train", work / "config.yaml", "--set", "epochs=0", "--backend", "none", *more).err)

    assert "epochs" in chosen()  # the configuration is checked before a backend is chosen
    monkeypatch.setenv("POLYMODEL_BACKEND", "from-variable")
    assert "unknown backend 'from-variable'" in polymodel("train", work / "config.yaml").err
    assert "unknown backend 'from-flag'" in polymodel("train", work / "config.yaml", "--backend", "from-flag").err


BAD = [
    (["--set", "optimizer.lrr=1"], 2, "optimizer.lrr: unknown key; did you mean 'lr'"),
    (["--set", "backend=pytorch"], 2, "backend: unknown backend 'pytorch'"),
    (["--backend", "pytorch"], 2, "unknown backend 'pytorch'"),
    (["--device", "cuda:7"], 3, "cuda:7"),
    (["--devices", "cpu:0,cuda:7"], 3, "cuda:7"),
    (["--devices", "cpu:0,cpu:0"], 2, "'cpu:0' is there twice"),
    (["--devices", "cpu:0,cpu:1", "--device", "cpu"], 2, "give one of them"),
    (["--set", "model.args={widht: 3}"], 2, "unexpected keyword argument 'widht'; it takes seed, width"),
    (["--set", "model={factory: 'net.py:nothing'}"], 2, "has no function 'nothing'"),
    (["--set", "model={factory: 'other.py:build'}"], 2, "other.py does not exist"),
    (["--set", "model={factory: 'no_such_module:build'}"], 2, "cannot import no_such_module"),
    (["--set", "model={factory: 'net.py:wrong'}"], 2, "returned int, expected a pm.Model"),
    (["--set", "data.source=missing.npz"], 1, "missing.npz does not exist"),
    (["--set", "data.target=label"], 1, "has no array 'label'; it has x, target"),
    (["--set", "model={name: mlp}"], 1, "expected float32[batch, 784]"),
]


@pytest.mark.parametrize(("options", "code", "message"), BAD, ids=[" ".join(o) for o, _, _ in BAD])
def test_bad_input_writes_nothing(polymodel: Any, work: Path, options: list[str], code: int, message: str) -> None:
    before = set(work.rglob("*")) | {work / "__pycache__"}
    done = polymodel("train", work / "config.yaml", "--output", work / "run", *options)
    assert done.code == code
    assert message in done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert set(work.rglob("*")) <= before | set((work / "__pycache__").glob("*"))


def test_a_checkpoint_of_another_model_writes_nothing(polymodel: Any, work: Path) -> None:
    polymodel("train", work / "config.yaml", "--output", work / "a", "--set", "epochs=1")
    start, wider = checkpoint.latest(work / "a/checkpoints"), ["--set", "model.args.width=6"]
    done = polymodel("train", work / "config.yaml", "--output", work / "b", "--resume-from", start, *wider)
    assert (done.code, "is of another model: '0.weight'" in done.err) == (1, True)
    assert not (work / "b").exists()


def test_a_read_only_output_folder(polymodel: Any, work: Path) -> None:
    (work / "file").write_text("")
    done = polymodel("train", work / "config.yaml", "--output", work / "file/run")
    assert (done.code, "choose a writable folder with --output" in done.err) == (1, True)


def test_the_error_as_json_and_with_a_traceback(polymodel: Any, work: Path) -> None:
    done = polymodel("train", work / "missing.yaml", "--json")
    assert json.loads(done.err)["error"]["type"] == "ConfigError"
    with pytest.raises(Exception, match="does not exist"):
        polymodel("train", work / "missing.yaml", "--debug")


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(polymodel: Any, work: Path) -> None:
    done = polymodel("train", work / "config.yaml", "--output", work / "run", "--set", "data.source=bad.npz")
    assert done.code == 1
    import numpy as np

    with np.load(work / "data.npz") as file:
        x, y = file["x"].copy(), file["target"]
    x[:, 0] = np.float32(3e38)
    np.savez(work / "bad.npz", x=x, target=y)
    done = polymodel("train", work / "config.yaml", "--output", work / "run", "--set", "data.source=bad.npz")
    assert done.code == 1
    assert "the first value that is not finite was made by node" in done.err
    assert "ended with NonFiniteLoss" in (work / "run/log.txt").read_text()
