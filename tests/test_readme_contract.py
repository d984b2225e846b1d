"""The names of the first page, used exactly as they are written there, on every backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x: pm.nn.Tensor) -> pm.nn.Tensor:
        x = nn.functional.max_pool2d(nn.functional.relu(self.norm(self.conv(x))), 2)
        return self.head(nn.functional.flatten(x))


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "mxnet"])
def test_the_whole_path(backend: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 1, 8, 8), dtype=np.float32)
    y = (x[:, 0, :4].mean((1, 2)) > 0).astype(np.int64)
    xv, yv = x[150:], y[150:]

    model = pm.Model(Net(), inputs={"x": pm.TensorSpec(("batch", 1, 8, 8), "float32")}, outputs=["logits"], seed=0)
    trainer = pm.Trainer(
        model,
        loss="cross_entropy",
        optimizer=pm.optim.Adam(1e-3),
        metrics=["accuracy"],
        backend=backend,
        device="auto",
        seed=0,
    )
    history = trainer.fit((x, y), epochs=5, batch_size=64, validation=(xv, yv))
    assert history["loss"][-1] < history["loss"][0]
    assert set(trainer.evaluate((xv, yv))) == {"loss", "accuracy"}
    assert trainer.predict(xv).shape == (50, 10)
    step = trainer.train_on_batch(x[:64], y[:64])
    assert set(step) == {"loss", "accuracy"}
    assert all(type(v) is float for v in step.values())

    pm.data.write_images(tmp_path / "train.rec", zip((127 + 60 * x[:64, 0]).clip(0, 255).astype(np.uint8), y, strict=False))
    records = pm.data.RecordDataset(tmp_path / "train.rec", channels=1)
    trainer.fit(pm.data.Loader(records, 64, transforms=[{"random_crop": {"size": 8, "padding": 1}}, "mirror"]), epochs=1)

    path = tmp_path / "net.onnx"
    trainer.export(path)
    graph = pm.load_onnx(path)
    program = pm.compile(graph, backend="torch", device="cpu")
    logits = program.predict({"x": x})["logits"]
    np.testing.assert_allclose(logits, trainer.predict(x), rtol=1e-3, atol=1e-5)
    g = np.ones_like(logits)
    gradients = program.gradients({"x": x}, cotangents={"logits": g})
    assert set(gradients) == {"x", *program.parameters}
    assert gradients["x"].shape == x.shape
    program.parameters = {n: np.zeros_like(v) for n, v in program.parameters.items()}
    assert not program.predict({"x": x})["logits"].any()
    assert type(program.native).__module__.split(".")[0] in ("torch", "polymodel_torch")


def test_names_of_backends_are_known_without_a_framework() -> None:
    assert pm.backends()[:3] == ("torch", "tensorflow", "mxnet")
