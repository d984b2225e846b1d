"""TrainStep: several models, losses and optimizers, compiled as phases over one state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel import nn
from polymodel.callbacks import EMA, Checkpoints, EarlyStopping
from polymodel.errors import CheckpointError, ConfigError, DataError, GraphError, NonFiniteLoss
from tests.installed import NAMES

F = nn.functional
CODE, SIDE = 4, 6
IMAGE = {"image": pm.TensorSpec(("batch", 1, SIDE, SIDE))}


class Generator(nn.Module):
    """(batch, CODE) to (batch, 1, SIDE, SIDE)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(CODE, 10), nn.BatchNorm1d(10), nn.Linear(10, SIDE * SIDE)

    def forward(self, z: Any) -> Any:
        return F.reshape(F.tanh(self.last(F.tanh(self.norm(self.first(z))))), (-1, 1, SIDE, SIDE))


class Discriminator(nn.Module):
    """(batch, 1, SIDE, SIDE) to (batch, 1)."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.drop, self.head = nn.Dropout(dropout), nn.Linear(3 * SIDE * SIDE, 1)

    def forward(self, x: Any) -> Any:
        return self.head(self.drop(F.flatten(F.tanh(self.norm(self.conv(x))))))


def judge(models: Any, batch: Any) -> Any:
    """Loss of the discriminator, which sees real and made images one after the other."""
    real, made = models.discriminator(batch["image"]), models["discriminator"](models.generator(F.normal(("batch", CODE))))
    loss = pm.losses.apply("bce_with_logits", real, 1.0) + pm.losses.apply("bce_with_logits", made, 0.0)
    return {"loss": loss, "score": F.mean(F.sigmoid(real))}


def fool(models: Any, batch: Any) -> Any:
    """Loss of the generator."""
    return pm.losses.apply("bce_with_logits", models.discriminator(models.generator(F.normal(("batch", CODE)))), 1.0)


def gan(backend: str, *, dropout: float = 0.0, every: int = 1, **changes: Any) -> pm.TrainStep:
    """A small GAN with SGD."""
    rule = changes.pop("optimizer", pm.optim.SGD(0.1, momentum=0.5))
    models = {
        "generator": pm.Model(Generator(), {"z": pm.TensorSpec(("batch", CODE))}, ["image"]),
        "discriminator": pm.Model(Discriminator(dropout), IMAGE, ["logit"], seed=1),
    }
    phases = {"judge": pm.Phase(judge, "discriminator", rule), "fool": pm.Phase(fool, "generator", rule, every=every)}
    return pm.TrainStep(models, phases, IMAGE, backend=backend, device="cpu", **changes)


def images(count: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 1, SIDE, SIDE)).astype(np.float32)


def state(step: Any) -> dict[str, bytes]:
    program = step.program
    return {n: a.tobytes() for n, a in {**program.parameters, **program.buffers, **program.slots}.items()}


def test_one_phase_of_one_model_is_a_trainer(toy: Any, backend: str) -> None:
    """Loss, clipping, schedule, optimizer, BatchNorm and the order of samples: the same bits."""
    rule, clip = pm.optim.Adam(1e-2), {"norm": 0.5}
    schedule = pm.optim.Cosine(4, final=0.1)
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    x = {"x": pm.TensorSpec(("batch", 5))}
    trainer = pm.Trainer(
        pm.Model(net, x, ["y"]), "cross_entropy", rule, schedule=schedule, clip=clip, backend=backend, device="cpu", seed=3
    )
    step = pm.TrainStep(
        {"net": pm.Model(net, x, ["y"])},
        {"fit": pm.Phase(lambda m, b: pm.losses.apply("cross_entropy", m.net(b["x"]), b["label"]), "net", rule, schedule, clip)},
        {**x, "label": pm.TensorSpec(("batch",), "int64")},
        backend=backend, device="cpu", seed=3,
    )
    trainer.fit(toy.train, epochs=2, batch_size=40, validation=toy.held, progress=False)
    step.fit(toy.train, epochs=2, batch_size=40, validation=toy.held, progress=False)
    assert {n.replace("fit.", "").replace("net.", ""): a for n, a in state(step).items()} == state(trainer)
    assert step.history["loss"] == trainer.history["loss"] == step.history["fit_loss"]
    assert step.history["val_loss"] == trainer.history["val_loss"]
    assert step.models["net"].values["3.weight"].tobytes() == trainer.program.parameters["3.weight"].tobytes()


def test_phases_are_the_lines_of_a_hand_written_loop(backend: str) -> None:
    """Against PyTorch's own modules, autograd and SGD, on the same noise: two steps of two phases."""
    torch = pytest.importorskip("torch")
    step, data = gan(backend), images(16)
    noise = {n: next(iter(p.training.graph.streams.values())) for n, p in step.program.programs.items() if p.training}
    seeds = {n: p.options.seed for n, p in step.program.programs.items()}
    start = {n: torch.tensor(a) for n, a in step.program.parameters.items()}
    g = torch.nn.Sequential(torch.nn.Linear(CODE, 10), torch.nn.BatchNorm1d(10), torch.nn.Tanh(), torch.nn.Linear(10, SIDE**2),
                            torch.nn.Tanh(), torch.nn.Unflatten(1, (1, SIDE, SIDE)))
    d = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.BatchNorm2d(3), torch.nn.Tanh(), torch.nn.Flatten(),
                            torch.nn.Linear(3 * SIDE**2, 1))
    names = ({"0": "first", "1": "norm", "3": "last"}, {"0": "conv", "1": "norm", "4": "head"})
    for word, module, places in (("generator", g, names[0]), ("discriminator", d, names[1])):
        with torch.no_grad():
            for name, value in module.named_parameters():
                place, _, rest = name.partition(".")
                value.copy_(start[f"{word}.{places[place]}.{rest}"])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    rules = {"judge": torch.optim.SGD(d.parameters(), 0.1, 0.5), "fool": torch.optim.SGD(g.parameters(), 0.1, 0.5)}
    for number in (1, 2):
        batch = data[8 * (number - 1) : 8 * number]
        found = step.train_on_batch(batch)
        losses = {}
        for phase, rule in rules.items():
            z = torch.tensor(noise[phase].draw(seeds[phase], number, (8, CODE)))
            if phase == "judge":
                real, made = d(torch.tensor(batch)), d(g(z).detach())
                loss = bce(real, torch.ones(8, 1)) + bce(made, torch.zeros(8, 1))
            else:
                loss = bce(d(g(z)), torch.ones(8, 1))
            rule.zero_grad()
            loss.backward()
            rule.step()
            losses[f"{phase}_loss"] = float(loss.detach())
        for name, value in losses.items():
            assert found[name] == pytest.approx(value, rel=2e-5)
    for word, module, places in (("generator", g, names[0]), ("discriminator", d, names[1])):
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            place, _, rest = name.partition(".")
            if rest == "running_var" or rest == "num_batches_tracked":
                continue  # PyTorch keeps the unbiased variance
            held = {**step.program.parameters, **step.program.buffers}[f"{word}.{places[place]}.{rest}"]
            np.testing.assert_allclose(held, value.detach().numpy(), rtol=1e-4, atol=2e-6, err_msg=f"{word} {name}")


def test_what_a_phase_does_not_train_stays(backend: str) -> None:
    step = gan(backend, every=3)
    before = step.program.parameters
    step.train_on_batch(images(8))
    after = step.program.parameters
    changed = {n.partition(".")[0] for n in before if before[n].tobytes() != after[n].tobytes()}
    assert changed == {"discriminator"}
    statistics = step.program.buffers
    assert statistics["generator.norm.running_mean"].any(), "BatchNorm in what is only read uses the batch too"


def test_a_phase_of_every_third_step(backend: str) -> None:
    step = gan(backend, every=3)
    found = [step.train_on_batch(images(8)) for _ in range(6)]
    assert ["fool_loss" in f for f in found] == [False, False, True, False, False, True]
    assert all(f["loss"] == f["judge_loss"] for f in found)
    again = gan(backend, every=3)
    again.fit([images(8)] * 6, epochs=1, progress=False)
    assert again.history[0]["fool_loss"] == pytest.approx((found[2]["fool_loss"] + found[5]["fool_loss"]) / 2, rel=1e-12)
    assert state(again) == state(step)


def test_one_parameter_in_two_phases(backend: str) -> None:
    """Every phase has slots of its own; the parameter is one."""
    def build(name: str, width: int) -> pm.Model:
        return pm.Model(nn.Linear(width, 3), {"x": pm.TensorSpec(("batch", width))}, [name])

    models = {"encoder": build("code", 5), "left": build("l", 3), "right": build("r", 3)}
    inputs = {"x": pm.TensorSpec(("batch", 5))}
    def loss(m: Any, b: Any, head: str) -> Any:
        return F.mean(m[head](m.encoder(b["x"])) ** 2.0)

    rule = pm.optim.SGD(0.1, momentum=0.9)
    step = pm.TrainStep(models, {
        "a": pm.Phase(lambda m, b: loss(m, b, "left"), ("encoder", "left"), rule, clip={"norm": 0.1}),
        "b": pm.Phase(lambda m, b: loss(m, b, "right"), ("encoder", "right.weight"), rule),
    }, inputs, backend=backend, device="cpu")  # fmt: skip
    x = np.random.default_rng(1).standard_normal((8, 5)).astype(np.float32)
    p = {n: a.astype(np.float64) for n, a in step.program.parameters.items()}
    for head, trained, clip in (("left", ("weight", "bias"), 0.1), ("right", ("weight",), None)):
        h = x @ p["encoder.weight"].T + p["encoder.bias"]
        y = h @ p[f"{head}.weight"].T + p[f"{head}.bias"]
        dy = 2 * y / y.size
        dh = dy @ p[f"{head}.weight"]
        g = {f"{head}.weight": dy.T @ h, f"{head}.bias": dy.sum(0), "encoder.weight": dh.T @ x, "encoder.bias": dh.sum(0)}
        g = {n: a for n, a in g.items() if n.startswith("encoder") or n.partition(".")[2] in trained}
        norm = np.sqrt(sum((a**2).sum() for a in g.values()))
        scale = 1.0 if clip is None else min(1.0, clip / (norm + 1e-6))
        p |= {n: p[n] - 0.1 * scale * a for n, a in g.items()}
    step.train_on_batch(x)
    for name, value in step.program.parameters.items():
        np.testing.assert_allclose(value, p[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert {"a.momentum_buffer/encoder.weight", "b.momentum_buffer/encoder.weight"} <= step.program.slots.keys()
    assert "b.momentum_buffer/right.bias" not in step.program.slots


def test_a_run_that_is_resumed_ends_with_the_same_bits(backend: str, tmp_path: Path) -> None:
    data = images(40)

    def make(backend: str = backend, dropout: float = 0.3) -> pm.TrainStep:
        return gan(backend, dropout=dropout, every=2, optimizer=pm.optim.Adam(1e-2))

    whole = make()
    whole.fit(data, epochs=3, batch_size=16, callbacks=[Checkpoints(tmp_path, every_steps=1, keep=0)], progress=False)
    again = make()
    again.fit(data, epochs=3, batch_size=16, resume=tmp_path / "step-00000005", progress=False)
    assert state(again) == state(whole)
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in step.history] for step in (again, whole)]
    assert rows[0] == rows[1]
    other = make(NAMES[NAMES.index(backend) - 1])
    other.load_checkpoint(tmp_path)
    assert state(other) == state(whole)
    with pytest.raises(CheckpointError, match="judge: adam"):
        gan(backend, dropout=0.3, every=2).load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="of another model"):
        make(dropout=0.2).load_checkpoint(tmp_path)


def test_models_are_predicted_and_exported_on_their_own(backend: str, tmp_path: Path) -> None:
    step = gan(backend)
    step.fit(images(), epochs=1, batch_size=8, progress=False)
    z = np.random.default_rng(0).standard_normal((5, CODE)).astype(np.float32)
    made = step.predict("generator", z)
    step.export("generator", tmp_path / "generator.onnx")
    graph = pm.load_onnx(tmp_path / "generator.onnx")
    assert set(graph.inputs) == {"z"}
    np.testing.assert_allclose(pm.compile(graph, backend=backend).predict({"z": z})["image"], made, rtol=1e-5, atol=1e-6)
    with pytest.raises(GraphError, match="no model 'critic'; there are generator, discriminator"):
        step.export("critic", tmp_path / "critic.onnx")


def test_a_teacher_predicts_while_the_student_trains(backend: str, tmp_path: Path) -> None:
    """training=False: running statistics and no dropout; a graph of a file is the same as the module it came from."""
    x = {"x": pm.TensorSpec(("batch", 5))}
    source = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Tanh(), nn.Linear(6, 3))
    teacher = pm.Model(source, x, ["y"], seed=4)
    teacher.values = {**teacher.values, "1.running_mean": np.full(6, 0.3, np.float32)}

    def distil(models: Any, batch: Any) -> Any:
        wanted = models.teacher(batch["x"], training=False)
        return F.mean((models.student(batch["x"]) - wanted) ** 2.0)

    def make(model: pm.Model) -> pm.TrainStep:
        student = pm.Model(nn.Linear(5, 3), x, ["y"])
        phase = {"distil": pm.Phase(distil, "student", pm.optim.SGD(0.1))}
        return pm.TrainStep({"teacher": model, "student": student}, phase, x, backend=backend, device="cpu")

    data = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    wanted = pm.compile(teacher.graph, backend=backend, device="cpu").predict({"x": data})["y"]
    pm.export(teacher.graph, tmp_path / "teacher.onnx", verify=False)
    found = []
    for model in (teacher, pm.Model.from_onnx(tmp_path / "teacher.onnx"), pm.Model.from_graph(teacher.graph)):
        step = make(model)
        held = {**step.program.parameters, **step.program.buffers}
        kept = {n: a.tobytes() for n, a in held.items() if n.startswith("teacher")}
        before = step.predict("student", data)
        loss = step.train_on_batch(data)["loss"]
        assert loss == pytest.approx(float(((before - wanted) ** 2).mean()), rel=1e-5)
        after = {n: a.tobytes() for n, a in {**step.program.parameters, **step.program.buffers}.items()}
        assert kept == {n: after[n] for n in kept}
        found.append(after["student.weight"])
    assert found[1] == found[2]


def test_a_graph_of_a_file_trains_as_its_module_does(backend: str) -> None:
    x = {"x": pm.TensorSpec(("batch", 5))}
    source = pm.Model(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1)), x, ["y"])
    data = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    found = []
    for model in (source, pm.Model.from_graph(source.graph)):
        phase = pm.Phase(lambda m, b: F.mean((m.net(b["x"]) - m.net(b["x"] * 0.5)) ** 2.0), "net", pm.optim.SGD(0.1))
        step = pm.TrainStep({"net": model}, {"all": phase}, x, backend=backend, device="cpu")
        losses = [step.train_on_batch(data)["loss"] for _ in range(2)]
        found.append((losses, {**step.program.parameters, **step.program.buffers}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for name, value in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], value, rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_data_set_gives_the_images_and_its_labels_are_left_out(backend: str) -> None:
    from polymodel.data import ArrayDataset

    data, step, again = images(), gan(backend), gan(backend)
    step.fit(ArrayDataset(data, np.arange(24)), epochs=1, batch_size=8, shuffle=False, progress=False)
    again.fit([data[i : i + 8] for i in (0, 8, 16)], epochs=1, progress=False)
    assert state(step) == state(again)


def test_callbacks_see_a_train_step(backend: str) -> None:
    step = gan(backend, optimizer={"name": "adam", "lr": 1e-2, "ema": 0.5})
    stop = EarlyStopping("val_judge_loss", patience=1, restore_best=True)
    step.fit(images(), epochs=3, batch_size=8, validation=images(8, 1), callbacks=[EMA(), stop], progress=False)
    assert {"val_loss", "val_fool_loss", "judge_score"} <= set(step.history[-1])
    assert step.averages.keys() == step.program.parameters.keys()


def test_a_loss_that_is_not_finite_names_its_phase(backend: str) -> None:
    step, data = gan(backend), images(8)
    data[3, 0, 2, 2] = np.inf
    before = state(step)
    with pytest.raises(NonFiniteLoss, match=r"loss is (nan|inf) at step 1: phase 'judge'"):
        step.train_on_batch(data)
    assert step.step == 0
    assert {n: a for n, a in state(step).items() if "discriminator" in n and "running" not in n} == {
        n: a for n, a in before.items() if "discriminator" in n and "running" not in n
    }
    with pytest.raises(NonFiniteLoss, match="phase 'judge': input 'image' is not finite in sample 3"):
        gan(backend).fit(data, epochs=1, batch_size=8, shuffle=False, progress=False)


X = {"x": pm.TensorSpec(("batch", 5))}


def small(loss: Any, train: Any = "net", **options: Any) -> pm.TrainStep:
    models = {"net": pm.Model(nn.Linear(5, 3), X, ["y"])}
    return pm.TrainStep(models, {"only": pm.Phase(loss, train, **options)}, X, backend="torch", device="cpu")


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (lambda m, b: m.net(b["x"]), {}, r"phase 'only': 'loss' is float32\[batch, 3\], expected a floating-point scalar"),
        (lambda m, b: {"other": F.mean(m.net(b["x"]))}, {}, "phase 'only' returned other; one of them must be 'loss'"),
        (lambda m, b: F.mean(m.critic(b["x"])), {}, "no model 'critic'; there are net"),
        (lambda m, b: F.mean(m.net(b["x"], b["x"])), {}, r"model 'net' takes 1 inputs \(x\), received 2"),
        (lambda m, b: F.mean(m.net(b["x"])), {"train": "nets"}, "train='nets' is no model and matches no parameter; .* net"),
        (lambda m, b: pm.losses.apply("cross_entropy", m.net(b["x"]), b["x"]), {}, r"wants a target int64\[batch\]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(loss: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        small(loss, **options)


def test_words_that_mean_nothing_are_refused() -> None:
    def good(m: Any, b: Any) -> Any:
        return F.mean(m.net(b["x"]))

    with pytest.raises(ConfigError, match="one phase at least is done in every step"):
        small(good, every=2)
    with pytest.raises(ConfigError, match=r"the loss of a phase is a function loss\(models, batch\), received 'mse'"):
        small("mse")  # a word says nothing about which output
    model = pm.Model(nn.Linear(5, 3), X, ["y"])
    with pytest.raises(ConfigError, match=r"the name of a model is a word of letters, digits and _, received 'a.b'"):
        pm.TrainStep({"a.b": model}, {"p": pm.Phase(good, "a.b")}, X, backend="torch")
    with pytest.raises(GraphError, match="model 'b' shares 'weight' with model 'a'"):
        pm.TrainStep({"a": model, "b": model}, {"p": pm.Phase(lambda m, b: F.mean(m.a(b["x"])), "a")}, X, backend="torch")
    with pytest.raises(DataError, match="the step has the inputs x, received 2 arrays"):
        small(good).train_on_batch((np.zeros((2, 5), np.float32), np.zeros(2)))
    model.freeze("*")
    with pytest.raises(GraphError, match="phase 'p' trains nothing: all parameters of net are frozen"):
        pm.TrainStep({"net": model}, {"p": pm.Phase(good, "net")}, X, backend="torch")
