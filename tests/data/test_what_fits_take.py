"""Data sets, loaders, tables and batches of other libraries in fit, evaluate and predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import polymodel as pm
from polymodel import nn
from polymodel.data import ArrayDataset, Dataset, Loader
from polymodel.errors import ConfigError, CorruptSample, DataError
from tests.installed import NAMES, installed

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((20, 4)).astype(np.float32), RNG.integers(0, 3, 20)


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    return installed(str(request.param))


def trainer(backend: str = "torch", **options: Any) -> pm.Trainer:
    model = pm.Model(nn.Linear(4, 3), {"x": pm.TensorSpec(("batch", 4))}, ["y"])
    return pm.Trainer(model, "cross_entropy", metrics=["accuracy"], backend=backend, device="cpu", **options)


class Mapped:
    """What torch.utils.data.Dataset is: samples by number."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        if index >= len(X):
            raise IndexError(index)
        return X[index], int(Y[index])


def values(t: pm.Trainer) -> dict[str, bytes]:
    return {n: a.tobytes() for n, a in t.program.parameters.items()}


def test_a_data_set_is_as_good_as_arrays(backend: str) -> None:
    """Same order, same batches, same result."""
    want, plain, loaded = (trainer(backend) for _ in range(3))
    want.fit((X, Y), epochs=2, batch_size=8, validation=(X[:6], Y[:6]), progress=False)
    plain.fit(Mapped(), epochs=2, batch_size=8, validation=ArrayDataset(X[:6], Y[:6]), progress=False)
    with Loader(ArrayDataset(X, Y), 8) as loader:
        loaded.fit(loader, epochs=2, validation=Loader(ArrayDataset(X[:6], Y[:6]), shuffle=False), progress=False)
        assert values(want) == values(plain) == values(loaded)
        assert want.history["val_loss"] == plain.history["val_loss"] == loaded.history["val_loss"]
        assert want.evaluate((X, Y)) == want.evaluate(Mapped()) == want.evaluate(Loader(Mapped(), 256, shuffle=False))
        outputs = want.predict(X)
        for given in (Mapped(), ArrayDataset(X, Y), Loader(Mapped(), 256), [X[:7], X[7:]], [(X, Y)]):
            np.testing.assert_allclose(want.predict(given), outputs, rtol=1e-6, atol=1e-6)


def test_data_sets_of_torch() -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    a, b = trainer(), trainer()
    a.fit((X, Y), epochs=2, batch_size=8, progress=False)
    b.fit(data, epochs=2, batch_size=8, progress=False)
    assert values(a) == values(b)
    batches = torch.utils.data.DataLoader(data, batch_size=8)
    np.testing.assert_allclose(a.predict(batches), a.predict(X), rtol=1e-6, atol=1e-6)
    assert a.evaluate(batches)["loss"] == pytest.approx(a.evaluate((X, Y))["loss"], rel=1e-5)


def test_data_of_tensorflow_and_mxnet() -> None:
    for name in ("tensorflow", "mxnet"):
        installed(name)
    import mxnet as mx
    import tensorflow as tf

    t, given = trainer("mxnet"), tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    t.fit(given, epochs=2, validation=given, progress=False)
    np.testing.assert_allclose(t.predict(given), t.predict(X), rtol=1e-6, atol=1e-6)
    data = mx.gluon.data.ArrayDataset(mx.nd.array(X), mx.nd.array(Y, dtype="int64"))
    a, b = trainer("tensorflow"), trainer("tensorflow")
    a.fit((X, Y), epochs=1, batch_size=8, progress=False)
    b.fit(data, epochs=1, batch_size=8, progress=False)
    assert values(a) == values(b)


def test_weights_and_classes(backend: str) -> None:
    """Of the samples of a data set, and of a loader's labels."""
    weights = np.linspace(0.5, 2, 20)

    class Weighted(Mapped):
        def __getitem__(self, index: int) -> Any:
            return X[index], Y[index], weights[index]

    a, b, c, d = (trainer(backend) for _ in range(4))
    a.fit((X, Y, weights), epochs=1, batch_size=8, progress=False)
    b.fit(Weighted(), epochs=1, batch_size=8, progress=False)
    assert values(a) == values(b)
    c.fit((X, Y), epochs=1, batch_size=8, class_weight={1: 3.0}, progress=False)
    d.fit(Loader(Mapped(), 8), epochs=1, class_weight={1: 3.0}, progress=False)
    assert values(c) == values(d)


def test_what_cannot_be_read(backend: str) -> None:
    """Ends a fit with its place, or is left out; in both cases before anything else is wrong."""

    class Broken(Dataset):
        numbers = np.arange(20)

        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> Any:
            if index == 11:
                raise CorruptSample(self.where(index), "unreadable")
            return X[index], Y[index]

        def where(self, index: int) -> str:
            return f"a.rec, byte {index}"

    t = trainer(backend)
    with pytest.raises(CorruptSample, match=r"a\.rec, byte 11: unreadable"):
        t.fit(Broken(), epochs=1, batch_size=4, progress=False)
    left = trainer(backend)
    left.fit(Loader(Broken(), 4, shuffle=False, on_error="skip"), epochs=1, progress=False)
    keep = np.delete(np.arange(20), 11)
    other = trainer(backend)
    other.fit([(X[i], Y[i]) for i in np.split(keep, (4, 8, 11, 15))], epochs=1, progress=False)
    assert values(left) == values(other)
    assert left.history[-1]["loss"] == other.history[-1]["loss"]


COLUMNS: dict[str, Any] = {"a": X[:, 0].astype(np.float64), "b": X[:, 1], "c": np.arange(20), "d": X[:, 3]}


def test_tables(backend: str) -> None:
    x = np.stack([COLUMNS[n].astype(np.float32) for n in "abcd"], axis=1)
    a, b = trainer(backend), trainer(backend)
    a.fit((x, Y), epochs=1, batch_size=8, progress=False)
    b.fit((pd.DataFrame(COLUMNS), pd.Series(Y, name="kind")), epochs=1, batch_size=8, validation_split=None, progress=False)
    assert values(a) == values(b)
    np.testing.assert_array_equal(a.predict(x), a.predict(pd.DataFrame(COLUMNS)))
    assert a.evaluate((pd.DataFrame(COLUMNS), pd.Series(Y.astype(np.float64), name="kind"))) == a.evaluate((x, Y))


@pytest.mark.parametrize(
    ("columns", "labels", "match"),
    [
        ({**COLUMNS, "b": np.array(["1"] * 20, object)}, Y, "column 'b', row 0: '1' is no number"),
        ({**COLUMNS, "b": np.array([1.0] * 7 + [np.nan] + [1.0] * 12)}, Y, "column 'b', row 7: no value: fill or drop such rows"),
        ({n: COLUMNS[n] for n in "ab"}, Y, r"the table has 2 features \(a, b\), which do not fill input 'x'"),
        (COLUMNS, Y + 0.5, "column 'kind' has fractions, expected int64"),
        (COLUMNS, np.array(["cat"] * 20, object), "column 'kind', row 0: 'cat' is no number"),
    ],
)
def test_tables_that_do_not_fit(columns: Any, labels: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        trainer().fit((pd.DataFrame(columns), pd.Series(labels, name="kind")), epochs=1, progress=False)


def test_a_table_for_several_inputs() -> None:
    from polymodel.data.foreign import from_frame

    specs = {"x": pm.TensorSpec(("batch", 2)), "size": pm.TensorSpec(("batch",), "int64")}
    found = from_frame(pd.DataFrame({"x.0": [1, 2], "size": [5, 6], "x.1": [3, 4]}), specs)
    np.testing.assert_array_equal(found["x"], np.array([[1, 3], [2, 4]], np.float32))
    assert found["size"].tolist() == [5, 6]
    with pytest.raises(DataError, match=r"no column 'size'; it has x\.0, x\.1"):
        from_frame(pd.DataFrame({"x.0": [1], "x.1": [3]}), specs)


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="sample_weight belongs to data in memory"):
        trainer().fit(Mapped(), epochs=1, sample_weight=np.ones(20), progress=False)
    with pytest.raises(DataError, match="there is no batch to predict"):
        trainer().predict([])

    class Single(Mapped):
        def __getitem__(self, index: int) -> Any:
            return X[index]

    with pytest.raises(DataError, match="sample 0 of Single: a sample is input, target and perhaps a weight, received ndarray"):
        trainer().fit(Single(), epochs=1, progress=False)
