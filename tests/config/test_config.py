"""Configurations: what is in them, what is refused and how, before any framework is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polymodel.config import file as config_file
from polymodel.config import yaml_text
from polymodel.config.experiment import build_model
from polymodel.config.run import check
from polymodel.errors import ConfigError, GraphError

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples/digits.yaml"


def minimal(**changes: Any) -> dict[str, Any]:
    return {"model": {"name": "mlp"}, "data": {"source": "a.npz", "validation": 0.1}, **changes}


def test_defaults_are_written_out() -> None:
    config = check(minimal(optimizer={"name": "sgd", "lr": 0.5}))
    assert config.optimizer == {"name": "sgd", "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False}
    assert config.loss["name"] == "cross_entropy"
    assert check(minimal()).optimizer["name"] == "adam"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_what_is_printed_is_read_back_equal(tmp_path: Path, path: Path) -> None:
    listed = config_file.read(path).optimizer["name"] in ("adam", "adamw")
    change = "optimizer.betas=[0.8, 0.99]" if listed else "optimizer.lr=0.25"
    config = config_file.read(path, [change, "clip.norm=1.5", "data.validation=0.25"])
    (tmp_path / "c.yaml").write_text(config_file.dump(config))
    assert config_file.read(tmp_path / "c.yaml") == config
    assert (config.clip, config.data.validation) == ({"norm": 1.5}, 0.25)


def test_changes_win_over_the_file() -> None:
    config = config_file.read(DIGITS, ["optimizer.lr=1e-4", "epochs=3", "epochs=4", "optimizer=sgd", "optimizer.momentum=0.5"])
    assert config.epochs == 4
    assert (config.optimizer["name"], config.optimizer["momentum"]) == ("sgd", 0.5)


def test_paths_become_absolute(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "model: {factory: 'net.py:build'}\ndata: {source: a.npz, validation: b.npz, test: 'sklearn:digits'}\n"
    )
    config = config_file.read(tmp_path / "c.yaml")
    assert config.model.factory == f"{tmp_path}/net.py:build"
    assert (config.data.source, config.data.validation) == (f"{tmp_path}/a.npz", f"{tmp_path}/b.npz")
    assert config.data.test == "sklearn:digits"


REFUSED: list[tuple[dict[str, Any], str]] = [
    (minimal(epoch=3), r"epoch: unknown key; did you mean 'epochs'\? valid keys: accumulate, backend, batch_size"),
    (minimal(optimizer={"name": "adam", "lrr": 1}), "optimizer.lrr: unknown key; did you mean 'lr'"),
    (minimal(optimizer="adm"), "optimizer.name: unknown name 'adm'; did you mean 'adam'"),
    (minimal(optimizer={"name": "adam", "lr": "fast"}), "optimizer.lr: expected a number, received 'fast'"),
    (minimal(optimizer={"name": "adam", "lr": -1}), r"optimizer: lr must be finite and in .*, received -1"),
    (minimal(schedule={"name": "cosine"}), "schedule.length: missing"),
    (minimal(loss="crossentropy"), "loss: unknown loss 'crossentropy'"),
    (minimal(loss={"name": "cross_entropy", "smoothing": 1}), "loss: .*smoothing"),
    (minimal(metrics="accuracy"), "metrics: expected a list of names"),
    (minimal(metrics=["acuracy"]), "metrics: unknown metric 'acuracy'"),
    (minimal(clip={"norm": -1.0}), "clip: max_norm must be finite"),
    (minimal(epochs=0), "epochs: expected greater than or equal to 1, received 0"),
    (minimal(epochs="5"), "epochs: expected a valid integer, received '5'"),
    (minimal(epochs=True), "epochs: expected a valid integer, received True"),
    (minimal(epochs=2.5), "epochs: expected a valid integer"),
    (minimal(deterministic=1), "deterministic: expected a valid boolean"),
    (minimal(backend="pytorch"), "backend: unknown backend 'pytorch'; did you mean 'torch'"),
    (minimal(device="gpu"), "device: expected auto, cpu, cuda or cuda:N, received 'gpu'"),
    (minimal(devices=["cuda:0", "gpu"]), "devices: expected auto, cpu, cuda or cuda:N, received 'gpu'"),
    (minimal(devices=["cuda", "cuda:0"]), "devices: 'cuda:0' is there twice"),
    (minimal(devices=[]), "devices: expected a list of names"),
    (minimal(devices=["cuda:0", "cuda:1"], device="cpu"), "device='cpu' and devices=.*: give one of them"),
    (minimal(devices=["cpu:0", "cpu:1", "cpu:2"], batch_size=2), "3 devices .* batches of 2 samples at most"),
    (minimal(compile="jit"), "compile: expected 'auto', 'native', 'inductor' or 'xla', received 'jit'"),
    (minimal(checkpoint={"evry": 1}), "checkpoint.evry: unknown key; did you mean 'every'"),
    (minimal(checkpoint={"best": "val_los"}), "checkpoint.best: no column 'val_los'; did you mean 'val_loss'"),
    (minimal(early_stopping={"patience": 0}), "early_stopping.patience: expected greater than or equal to 1"),
    (minimal(early_stopping={"monitr": "loss"}), "early_stopping.monitr: unknown key; did you mean 'monitor'"),
    (minimal(data={"source": "a.npz", "validation": 1.5}), r"data.validation: expected a share in \(0, 1\)"),
    (minimal(data={"source": "a.npz"}, early_stopping={}), "no column 'val_loss'.*need data.validation"),
    (minimal(data={}), "data.source: missing"),
    (minimal(model={}), "model: exactly one of name, factory and onnx, received none"),
    (minimal(model={"name": "mlp", "onnx": "a.onnx"}), "received name, onnx"),
    (minimal(model={"name": "resnet"}), "model.name: unknown model 'resnet'; did you mean 'resnet50'"),
    (minimal(model={"factory": "os.system"}), "model.factory: expected module:function"),
    (minimal(model={"name": "mlp", "args": {"a": 1}}), "model.args: mlp has no option 'a'; it has sizes"),
    ({"data": {"source": "a"}}, "model: missing"),
]


@pytest.mark.parametrize(("data", "match"), REFUSED, ids=[m.split(":")[0] for _, m in REFUSED])
def test_refused_by_name(data: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        check(data)


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml: 3 problems\n") as caught:
        check(minimal(epochs=0, sed=1, device="gpu"), "c.yaml")
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == ["epochs", "device", "sed"]


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_mapping(data: Any) -> None:
    with pytest.raises(ConfigError, match="expected a mapping"):
        check(data)


@pytest.mark.parametrize(
    ("change", "match"),
    [("epochs", "expected a.b=value"), ("=3", "expected a.b=value"), ("epochs.a=3", "epochs is 15, which has no keys"),
     ("optimizer.lr=[", "no valid YAML"), ("optimizer..lr=1", "expected a.b=value")],
)
def test_changes_that_mean_nothing(change: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config_file.read(DIGITS, [change])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        config_file.read(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"b\.yaml"):
        config_file.read(tmp_path / "b.yaml")


def test_no_framework_is_imported() -> None:
    code = f"""
import sys
from polymodel.config import file as config_file
config_file.read({str(DIGITS)!r}, ["backend=mxnet"])
print([m for m in ("torch", "tensorflow", "mxnet") if m in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# -- YAML --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1.5E+2", 150.0), (".5", 0.5), ("-3", -3), ("010", 10), ("no", "no"), ("on", "on"), ("true", True),
     ("~", None), ("", None), ("1_000", "1_000"), ("12:30", "12:30"), ("2020-01-01", "2020-01-01"), ("'1'", "1"),
     (".inf", float("inf")), ("[1, 2.0, a]", [1, 2.0, "a"]), ("0x10", "0x10")],
)
def test_words_mean_what_version_1_2_says(text: str, value: Any) -> None:
    found = yaml_text.parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "match"),
    [("a: 1\nb: 2\na: 3", "f.yaml, line 3: key 'a' is given twice"), ("1: a", "line 1: key 1 is no text"),
     ("a: [", "f.yaml is no valid YAML: .*line 1"), ("!!python/object/apply:os.system ['true']", "no valid YAML"),
     ("a: {b: 1, b: 2}", "key 'b' is given twice")],
)
def test_texts_that_are_refused(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        yaml_text.parse(text, "f.yaml")


def test_initializers_and_lines_of_steps(tmp_path: Path) -> None:
    """What a Gluon program says in code: MSRA-PReLU weights, a line for each batch."""
    spec = {"name": "msra_prelu", "slope": 0.25}
    data = {"source": "a.npz"}
    config = check({"model": {"name": "lenet", "initialize": {"conv*.weight": spec}}, "data": data, "log_every": 2})
    assert config.log_every == 2
    plain, drawn = build_model(check({"model": {"name": "lenet"}, "data": data})), build_model(config)
    changed = {n for n in plain.values if plain.values[n].tobytes() != drawn.values[n].tobytes()}
    assert changed == {"conv1.weight", "conv2.weight"}
    with pytest.raises(ConfigError, match=r"model\.initialize.*'\*': initializer is one of .* received 'msra'"):
        check({"model": {"name": "lenet", "initialize": {"*": "msra"}}, "data": data})
    with pytest.raises(GraphError, match="matches no"):
        build_model(check({"model": {"name": "lenet", "initialize": {"convolution.*": spec}}, "data": data}))


def test_how_to_compile_reaches_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    from polymodel.config import experiment

    asked: dict[str, Any] = {}
    monkeypatch.setattr(experiment, "Trainer", lambda model, **options: asked.update(options))
    config = check(minimal(tf32=True, threads=3, deterministic=True, randomness="native"))
    experiment.build_trainer(config, None, "torch")  # type: ignore[arg-type]
    chosen = asked["options"]
    assert (chosen.tf32, chosen.threads, chosen.deterministic, chosen.randomness) == (True, 3, True, "native")
    experiment.build_trainer(check(minimal()), None, "torch")  # type: ignore[arg-type]
    assert asked["options"].tf32 is False
