"""Sequence classifiers: lengths are obeyed, weights are PyTorch's in another order."""

from __future__ import annotations

import numpy as np
import pytest

from polymodel import compile, models
from tests.models.conftest import Judge

X = np.random.default_rng(0).standard_normal((4, 9, 3), dtype=np.float32)
LENGTHS = np.array([9, 4, 1, 6], np.int32)


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_is_behind_a_sequence_changes_nothing(name: str, bidirectional: bool, backend: str) -> None:
    options = {"inputs": 3, "hidden": 5, "classes": 4, "layers": 2, "bidirectional": bidirectional}
    model = models.build(name, time=None, lengths=True, **options)
    program = compile(model.graph, backend=backend, device="cpu")
    spoiled = X.copy()
    for row, length in enumerate(LENGTHS):
        spoiled[row, length:] = 1e3
    both = [program.predict({"x": x, "lengths": LENGTHS})["logits"] for x in (X, spoiled)]
    np.testing.assert_array_equal(both[0], both[1])
    whole = models.build(name, time=None, **options)
    for row, length in ((1, 4), (2, 1)):
        alone = compile(whole.graph, backend=backend, device="cpu").predict({"x": X[row : row + 1, :length]})["logits"]
        np.testing.assert_allclose(both[0][row], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "order"), [("lstm", (0, 2, 3, 1)), ("gru", (1, 0, 2))])
def test_it_computes_what_pytorch_computes_with_packed_sequences(name: str, order: tuple[int, ...], judge: Judge) -> None:
    torch = pytest.importorskip("torch")
    model = models.build(name, time=9, lengths=True, inputs=3, hidden=5, classes=4, layers=2, bidirectional=True)
    theirs = getattr(torch.nn, name.upper())(3, 5, 2, batch_first=True, bidirectional=True)
    head = torch.nn.Linear(10, 4)
    assert sum(v.size for v in model.values.values()) == sum(p.numel() for m in (theirs, head) for p in m.parameters())
    own = model.values
    with torch.no_grad():
        for k in range(2):
            for d, suffix in enumerate(("", "_reverse")):
                for kind in ("ih", "hh"):
                    weight = torch.from_numpy(own[f"rnn.weight_{kind}_l{k}"][d])
                    bias = torch.from_numpy(own[f"rnn.bias_l{k}"][d]).chunk(2)[kind == "hh"]
                    for what, tensor in (("weight", weight), ("bias", bias)):
                        gates = tensor.chunk(len(order))  # theirs are i f c o and r z n, ours i o f c and z r h
                        getattr(theirs, f"{what}_{kind}_l{k}{suffix}").copy_(torch.cat([gates[i] for i in order]))
        head.weight.copy_(torch.from_numpy(own["head.weight"]))
        head.bias.copy_(torch.from_numpy(own["head.bias"]))
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            torch.from_numpy(X), torch.from_numpy(LENGTHS).long(), batch_first=True, enforce_sorted=False
        )
        state = theirs(packed)[1]
        h = state[0] if name == "lstm" else state
        logits = head(torch.cat([h[-2], h[-1]], 1)).numpy()
    judge(model.graph, {"x": X, "lengths": LENGTHS}, {"torch": {"logits": logits}}, ("torch", "tensorflow", "mxnet"))
