"""What a fit may be given: weights, splits, loaders, iterators, several inputs and losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polymodel as pm
from polymodel import nn, random
from polymodel.callbacks import Checkpoints, Lambda
from polymodel.errors import ConfigError, DataError, TrainingError

TrainerMaker = Callable[..., pm.Trainer]


def state(trainer: pm.Trainer) -> dict[str, bytes]:
    program = trainer.program
    return {n: a.tobytes() for n, a in {**program.parameters, **program.buffers, **program.slots}.items()}


def plain(trainer: TrainerMaker, backend: str = "torch", **options: Any) -> pm.Trainer:
    return trainer(backend, schedule=None, optimizer=pm.optim.SGD(0.1), **options)


def test_sample_weights(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    """A sample of weight 2 counts as if it were there twice; the mean is over the number of samples."""
    x, y = toy.train
    x, y, weight = x[:8], y[:8], np.array([2, 1, 0, 1, 1, 1, 1, 1])
    model = pm.Model(nn.Linear(5, 3), {"x": pm.TensorSpec(("batch", 5))}, ["y"])
    weighted, doubled = (plain(trainer, backend, model=model) for _ in range(2))
    kept = [0, 0, 1, 3, 4, 5, 6, 7]
    found = weighted.train_on_batch(x, y, weight)
    want = doubled.train_on_batch(x[kept], y[kept])
    assert found["loss"] == pytest.approx(want["loss"], rel=1e-6)
    for name, value in doubled.program.parameters.items():
        np.testing.assert_allclose(weighted.program.parameters[name], value, rtol=1e-5, atol=1e-7)
    tested = weighted.test_on_batch(x, y, weight)
    assert tested["loss"] == pytest.approx(weighted.evaluate((x[kept], y[kept]))["loss"], rel=1e-6)
    assert tested["accuracy"] == weighted.evaluate((x, y))["accuracy"]
    np.testing.assert_array_equal(weighted.predict_on_batch(x), weighted.predict(x))


def test_class_weights(toy: Any, trainer: TrainerMaker) -> None:
    by_class, by_sample = plain(trainer), plain(trainer)
    table = {0: 0.5, 2: 3.0}
    by_class.fit(toy.train, epochs=2, class_weight=table, progress=False)
    weights = np.array([table.get(int(c), 1.0) for c in toy.train[1]])
    by_sample.fit((*toy.train, weights), epochs=2, progress=False)
    assert state(by_class) == state(by_sample)
    both = plain(trainer)
    both.fit(toy.train, epochs=2, class_weight=table, sample_weight=np.full(90, 1.0), progress=False)
    assert state(both) == state(by_sample)
    shares = np.eye(3, dtype=np.float32)[toy.train[1]]
    soft = plain(trainer, loss={"name": "cross_entropy", "probabilities": True}, metrics=[])
    soft.fit((toy.train[0], shares), epochs=1, class_weight=table, progress=False)
    with pytest.raises(DataError, match="one label for each sample, received a target of shape"):
        plain(trainer, loss="mse", metrics=[]).fit((toy.train[0], shares[:, :, None]), epochs=1, class_weight=table)


def test_weights_come_in_the_middle(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    """What was trained before stays, momentum included, and weights of one change nothing but rounding."""
    t, other = (trainer(backend, optimizer=pm.optim.SGD(0.1, momentum=0.9), schedule=None) for _ in range(2))
    t.train_on_batch(*toy.train)
    before = state(t)
    t.take_weights()
    assert state(t) == before
    other.train_on_batch(*toy.train)
    t.train_on_batch(toy.train[0], toy.train[1], np.ones(90))
    other.train_on_batch(*toy.train)
    for name, value in other.program.parameters.items():
        np.testing.assert_allclose(t.program.parameters[name], value, rtol=1e-4, atol=1e-6)


def test_weights_of_the_validation(toy: Any, trainer: TrainerMaker) -> None:
    """In memory, or first seen in the batches of a validation, in the middle of a fit."""
    x, y = toy.held
    weight = np.linspace(0, 2, 30)
    runs = [plain(trainer) for _ in range(3)]
    for t, validation in zip(runs, ((x, y, weight), [(x, y, weight)], (x, y)), strict=True):
        t.fit(toy.train, epochs=3, validation=validation, progress=False)
    assert runs[0].history["val_loss"] == pytest.approx(runs[1].history["val_loss"], rel=1e-5)
    assert runs[0].history["val_loss"][0] != pytest.approx(runs[2].history["val_loss"][0], rel=1e-3)
    assert runs[0].history["loss"] == pytest.approx(runs[2].history["loss"], rel=1e-5)
    want = runs[0].evaluate((x, y), sample_weight=weight)["loss"]
    assert runs[0].history["val_loss"][-1] == pytest.approx(want, rel=1e-6)


def test_tensors_of_tensorflow(toy: Any, trainer: TrainerMaker) -> None:
    tf = pytest.importorskip("tensorflow")
    t, arrays = plain(trainer, "tensorflow"), plain(trainer, "tensorflow")
    t.fit(tf.data.Dataset.from_tensor_slices(toy.train).batch(40), epochs=2, progress=False)
    arrays.fit(toy.train, epochs=2, batch_size=40, shuffle=False, progress=False)
    assert state(t) == state(arrays)


def test_validation_split_takes_the_last_samples(toy: Any, trainer: TrainerMaker) -> None:
    split, given = plain(trainer), plain(trainer)
    split.fit(toy.train, epochs=2, validation_split=0.2, progress=False)
    x, y = toy.train
    given.fit((x[:72], y[:72]), epochs=2, validation=(x[72:], y[72:]), progress=False)
    assert state(split) == state(given)
    assert split.history["val_loss"] == given.history["val_loss"]
    for share in (0.0, 1.0, 0.999):
        with pytest.raises(ConfigError, match="give a share in"):
            split.fit(toy.train, epochs=1, validation_split=share)
    with pytest.raises(ConfigError, match="no validation"):
        split.fit(toy.train, epochs=1, validation_split=0.5, validation=toy.held)


def test_steps_per_epoch_go_on_through_the_data(toy: Any, trainer: TrainerMaker) -> None:
    """90 samples in batches of 40 are 3 batches a pass; epochs of 2 end in the middle of one."""
    short, long = plain(trainer), plain(trainer)
    short.fit(toy.train, epochs=6, batch_size=40, steps_per_epoch=2, progress=False)
    long.fit(toy.train, epochs=4, batch_size=40, progress=False)
    assert short.history["step"] == [2, 4, 6, 8, 10, 12]
    assert state(short) == state(long)


def test_initial_epoch(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    """Epochs 3 and 4 of four, with their orders, numbers, steps and learning rates."""
    whole, late = trainer(), trainer()
    whole.fit(toy.train, epochs=2, batch_size=40, progress=False)
    late.model.values = whole.model.values
    late = trainer(model=late.model)
    late.program.slots = whole.program.slots
    whole.fit(toy.train, epochs=2, batch_size=40, progress=False)
    late.fit(toy.train, epochs=4, initial_epoch=2, batch_size=40, progress=False)
    assert state(late) == state(whole)
    assert late.history["epoch"] == [3, 4]
    assert late.history["lr"] == whole.history["lr"][2:]
    with pytest.raises(ConfigError, match="from 0 to epochs - 1, received 4"):
        late.fit(toy.train, epochs=4, initial_epoch=4)


def batches(toy: Any, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Those that fit cuts from arrays, for seed 3 and a batch size of 40."""
    order = random.permutation(3, epoch, 90)
    return [(toy.train[0][i], toy.train[1][i]) for i in (order[:40], order[40:80], order[80:])]


def test_a_function_of_the_epoch(toy: Any, trainer: TrainerMaker, backend: str, tmp_path: Path) -> None:
    """The same batches as from arrays, by the same steps; a fit resumes in the middle of an epoch."""
    arrays, stream, resumed = (trainer(backend) for _ in range(3))
    arrays.fit(toy.train, epochs=2, batch_size=40, validation=toy.held, progress=False)
    saving = Checkpoints(tmp_path, every=0, every_steps=2, keep=0)
    made = lambda epoch: batches(toy, epoch)  # noqa: E731
    stream.fit(made, epochs=2, steps_per_epoch=3, validation=[toy.held], callbacks=[saving], progress=False)
    assert state(stream) == state(arrays)
    assert stream.history["loss"] == arrays.history["loss"]
    assert stream.history["val_loss"] == arrays.history["val_loss"]
    resumed.fit(made, epochs=2, steps_per_epoch=3, validation=[toy.held], resume=tmp_path / "step-00000004", progress=False)
    assert state(resumed) == state(arrays)


def test_a_torch_loader(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    data = torch.utils.data.TensorDataset(*(torch.from_numpy(a) for a in toy.train))
    loader = torch.utils.data.DataLoader(data, batch_size=40)
    t, arrays = plain(trainer, backend), plain(trainer, backend)
    t.fit(loader, epochs=2, validation=loader, progress=False)
    arrays.fit(toy.train, epochs=2, batch_size=40, shuffle=False, validation=toy.train, progress=False)
    assert state(t) == state(arrays)
    assert t.history["step"] == [3, 6]
    assert t.evaluate(loader) == t.evaluate(toy.train, batch_size=40)
    assert t.evaluate(loader, steps=1) == t.evaluate((toy.train[0][:40], toy.train[1][:40]))


def test_an_iterator_goes_on(toy: Any, trainer: TrainerMaker, tmp_path: Path) -> None:
    def endless() -> Iterator[Any]:
        epoch = 0
        while True:
            yield from batches(toy, epoch)
            epoch += 1

    t, arrays = plain(trainer), plain(trainer)
    t.fit(endless(), epochs=3, steps_per_epoch=2, callbacks=[Checkpoints(tmp_path, every_steps=1, keep=0)], progress=False)
    arrays.fit(toy.train, epochs=2, batch_size=40, progress=False)
    assert state(t) == state(arrays)
    with pytest.raises(ConfigError, match="pass steps_per_epoch"):
        plain(trainer).fit(endless(), epochs=1)
    with pytest.raises(DataError, match="cannot go on in the middle of an epoch with an iterator"):
        plain(trainer).fit(endless(), epochs=3, steps_per_epoch=2, resume=tmp_path / "step-00000001", progress=False)


def test_a_stream_of_unknown_length(toy: Any, trainer: TrainerMaker) -> None:
    t = plain(trainer)
    t.fit(lambda epoch: (b for b in batches(toy, epoch)), epochs=2, progress=True)
    assert t.history["step"] == [3, 6]
    with pytest.raises(TrainingError, match="counts in epochs"):
        trainer().fit(lambda epoch: iter(batches(toy, epoch)), epochs=1, progress=False)
    with pytest.raises(DataError, match="the data ended after 3 batches of epoch 1, wanted 4"):
        plain(trainer).fit(lambda epoch: batches(toy, epoch), epochs=1, steps_per_epoch=4, progress=False)
    with pytest.raises(DataError, match="the data ended after 0 batches"):
        plain(trainer).fit(lambda epoch: [], epochs=1, progress=False)
    with pytest.raises(ConfigError, match="received int"):
        plain(trainer).fit(3, epochs=1)


def test_a_batch_that_does_not_fit_is_refused(toy: Any, trainer: TrainerMaker) -> None:
    bad = [(toy.train[0], toy.train[1] + 7)]
    with pytest.raises(DataError, match="out of range"):
        plain(trainer).fit(bad, epochs=1, progress=False)
    with pytest.raises(ConfigError, match="batches bring theirs along"):
        plain(trainer).fit([toy.train], epochs=1, sample_weight=np.ones(90))


def test_every_batch_of_one_form_is_checked_for_its_values(toy: Any, trainer: TrainerMaker) -> None:
    x, y = toy.train
    batch, wrong = (x[:8], y[:8]), y[:8].copy()
    wrong[3] = -1
    with pytest.raises(DataError, match="label -1 of sample 3 is out of range: expected 0 to 2"):
        plain(trainer).fit([batch, batch, (x[:8], wrong)], epochs=1, progress=False)
    with pytest.raises(DataError, match=r"\(8, 7\)|7"):
        plain(trainer).fit([batch, batch, (x[:8], y[:7])], epochs=1, progress=False)


def test_batches_of_other_forms_and_with_weights_follow_those_of_one(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    """What is known of the last batch's form is right for it alone."""
    x, y = toy.train
    weight = np.linspace(0.5, 2.0, 8)
    batches = [(x[:8], y[:8]), (x[8:16], y[8:16]), (x[16:19], y[16:19]), (x[19:27], y[19:27], weight), (x[27:35], y[27:35])]
    other = [
        (a.astype(np.float32).copy(), b.astype(np.int32), np.ones(len(b)) if not rest else rest[0]) for a, b, *rest in batches
    ]  # another dtype, so that nothing is taken as it is, and weights from the start
    one, two = plain(trainer, backend), plain(trainer, backend)
    one.fit(batches, epochs=2, progress=False)
    two.fit(other, epochs=2, progress=False)
    assert one.step == two.step == 10
    for name, value in one.program.parameters.items():
        np.testing.assert_allclose(value, two.program.parameters[name], rtol=2e-5, atol=1e-6)


def test_steps_per_execution_changes_when_callbacks_look(toy: Any, trainer: TrainerMaker) -> None:
    seen: list[int] = []
    one, several = plain(trainer), plain(trainer)
    one.fit(toy.train, epochs=2, batch_size=16, progress=False)
    looking = Lambda(on_step=lambda fit: seen.append(fit.trainer.step))
    several.fit(toy.train, epochs=2, batch_size=16, steps_per_execution=4, callbacks=[looking], progress=False)
    assert state(one) == state(several)
    assert one.history["loss"] == several.history["loss"]
    assert seen == [4, 6, 10, 12]


class _Heads(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.label, self.number = nn.Linear(7, 6), nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, x: Any, z: Any) -> Any:
        h = nn.functional.relu(self.body(nn.functional.concat([x, z], 1)))
        return self.label(h), self.number(h)


def test_several_inputs_outputs_and_losses(toy: Any, trainer: TrainerMaker, backend: str) -> None:
    rng = np.random.default_rng(1)
    x, y = toy.train
    z = rng.standard_normal((90, 2)).astype(np.float32)
    number = z.sum(1, keepdims=True)
    specs = {"x": pm.TensorSpec(("batch", 5)), "z": pm.TensorSpec(("batch", 2))}

    def make(**options: Any) -> pm.Trainer:
        model = pm.Model(_Heads(), specs, ["label", "number"])
        return plain(trainer, backend, model=model, **options)

    both = make(
        loss={"label": "cross_entropy", "number": {"name": "huber", "delta": 0.5}}, loss_weights={"number": 0.25},
        metrics={"label": ["accuracy"], "number": ["r2"]},
    )
    inputs, targets = {"x": x, "z": z}, {"label": y, "number": number}
    first = both.evaluate((inputs, targets))
    assert set(first) == {"loss", "label_loss", "number_loss", "label_accuracy", "number_r2"}
    assert first["loss"] == pytest.approx(first["label_loss"] + 0.25 * first["number_loss"], rel=1e-6)
    one = make(loss="cross_entropy", metrics=["accuracy"])
    other = make(loss={"name": "huber", "delta": 0.5}, output="number", metrics=["r2"])
    assert first["label_accuracy"] == one.evaluate((inputs, y))["accuracy"]
    assert first["number_loss"] == pytest.approx(other.evaluate((inputs, number))["loss"], rel=1e-6)
    assert first["number_r2"] == pytest.approx(other.evaluate((inputs, number))["r2"], rel=1e-6)
    for t, target in ((both, targets), (one, y), (other, number)):
        t.train_on_batch(inputs, target)
    start = pm.Model(_Heads(), specs, ["label", "number"]).values
    for name in ("body.weight", "number.weight", "label.bias"):
        moves = [t.program.parameters[name] - start[name] for t in (both, one, other)]
        np.testing.assert_allclose(moves[0], moves[1] + 0.25 * moves[2], rtol=1e-3, atol=1e-6)
    history = both.fit((inputs, targets), epochs=2, validation=(inputs, targets), progress=False)
    assert history["val_number_r2"][-1] > first["number_r2"]
    with pytest.raises(DataError, match=r"target.number' .* is missing"):
        both.evaluate((inputs, {"label": y}))
    for change, words in (
        ({"metrics": ["accuracy"]}, "give metrics by output too"),
        ({"metrics": {"x": ["r2"]}}, "output 'x' has no loss"),
        ({"loss_weights": {"x": 1}, "metrics": {}}, "loss_weights: output 'x' has no loss"),
        ({"output": "label", "metrics": {}}, "says nothing"),
    ):
        with pytest.raises(ConfigError, match=words):
            make(loss={"label": "cross_entropy", "number": "mse"}, **change)
