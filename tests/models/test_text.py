"""Language models: sizes as published, PyTorch's layers with the same weights, cached and uncached logits, sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodel import Model, compile, export, models, random
from polymodel.artifact import runtime
from polymodel.errors import ConfigError, GraphError
from tests.models.conftest import Judge, parameter_count

PUBLISHED = {
    "gpt2": 124_439_808,  # transformers' GPT2LMHeadModel, tied
    "bert_masked_lm": 109_514_298,  # transformers' BertForMaskedLM, bert-base-uncased
    "sentence_encoder": 22_565_376,  # all-MiniLM-L6-v2's 22,713,216 without the pooler, which it does not use
}
SMALL = {"vocabulary": 13, "positions": 8, "size": 8, "heads": 2, "layers": 2}
ENCODER: dict[str, Any] = {**SMALL, "hidden": 16, "dropout": 0.0}
TOKENS = np.random.default_rng(0).integers(0, 13, (3, 8))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name: str) -> None:
    assert parameter_count(models.module(name)) == PUBLISHED[name]


def test_the_classifier_is_bert_base_with_a_head() -> None:
    assert parameter_count(models.module("bert_classifier")) == 109_482_240 + 2 * 768 + 2


def moved(model: Model) -> Model:
    """Values that are not those of the start, so that biases and normalisations show."""
    rng = np.random.default_rng(3)
    model.values = {n: (v + 0.3 * rng.standard_normal(v.shape)).astype(v.dtype) for n, v in model.values.items()}
    return model


def torch_layers(values: dict[str, np.ndarray], prefix: str, count: int, **options: Any) -> list[Any]:
    """PyTorch's encoder layers with our values: the names are the same."""
    torch = pytest.importorskip("torch")
    layers = []
    for i in range(count):
        layer = torch.nn.TransformerEncoderLayer(8, 2, dropout=0.0, batch_first=True, **options)
        own = f"{prefix}layers.{i}."
        layer.load_state_dict({n.removeprefix(own): torch.from_numpy(a) for n, a in values.items() if n.startswith(own)})
        layers.append(layer)  # in training mode: the other path of PyTorch does not know the tanh approximation
    return layers


def normed(x: Any, values: dict[str, np.ndarray], name: str, eps: float) -> Any:
    import torch

    weight, bias = (torch.from_numpy(values[f"{name}.{k}"]) for k in ("weight", "bias"))
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


def test_bert_computes_what_pytorchs_layers_compute(judge: Judge) -> None:
    torch = pytest.importorskip("torch")
    model = moved(models.build("bert_masked_lm", time=None, pairs=True, **ENCODER))
    v = model.values
    mask = np.array([[1] * 8, [1] * 5 + [0] * 3, [1] + [0] * 7])
    segments = np.tile(np.array([0, 0, 0, 1, 1, 1, 0, 0]), (3, 1))
    with torch.no_grad():
        x = torch.from_numpy(v["bert.tokens.weight"][TOKENS] + v["bert.positions.weight"] + v["bert.segments.weight"][segments])
        x = normed(x, v, "bert.norm", 1e-12)
        for layer in torch_layers(v, "bert.", 2, dim_feedforward=16, activation="gelu", layer_norm_eps=1e-12):
            x = layer(x, src_key_padding_mask=torch.from_numpy(mask == 0))
        x = torch.nn.functional.gelu(x @ torch.from_numpy(v["transform.weight"]).T + torch.from_numpy(v["transform.bias"]))
        logits = normed(x, v, "norm", 1e-12) @ torch.from_numpy(v["bert.tokens.weight"]).T + torch.from_numpy(v["bias"])
    feeds = {"tokens": TOKENS, "mask": mask, "segments": segments}
    sides = {"torch.nn": {"logits": logits.permute(0, 2, 1).numpy()}}
    judge(model.graph, feeds, sides, ("torch", "tensorflow", "mxnet"))


def test_the_classifier_reads_the_first_token(judge: Judge) -> None:
    model = moved(models.build("bert_classifier", time=8, **ENCODER))
    feeds = {"tokens": TOKENS, "mask": np.ones_like(TOKENS)}
    judge(model.graph, feeds, {}, ("torch", "tensorflow", "mxnet"))
    changed = {**feeds, "tokens": np.where(np.arange(8) == 7, 0, TOKENS), "mask": np.tile(np.arange(8) < 7, (3, 1)).astype(np.int64)}
    program = compile(model.graph, backend="torch", device="cpu")
    unchanged = {**changed, "tokens": TOKENS}
    np.testing.assert_array_equal(program.predict(changed)["logits"], program.predict(unchanged)["logits"])


def test_gpt_computes_what_pytorchs_layers_compute(judge: Judge) -> None:
    torch = pytest.importorskip("torch")
    model = moved(models.build("gpt2", time=8, dropout=0.0, **SMALL))
    v = model.values
    gelu = torch.nn.GELU("tanh")
    with torch.no_grad():
        x = torch.from_numpy(v["tokens.weight"][TOKENS] + v["positions.weight"])
        for layer in torch_layers(v, "", 2, dim_feedforward=32, activation=gelu, norm_first=True):
            x = layer(x, src_mask=torch.triu(torch.ones(8, 8, dtype=torch.bool), 1))
        logits = normed(x, v, "norm", 1e-5) @ torch.from_numpy(v["tokens.weight"]).T
    sides = {"torch.nn": {"logits": logits.permute(0, 2, 1).numpy()}}
    judge(model.graph, {"tokens": TOKENS}, sides, ("torch", "tensorflow", "mxnet"))


def test_cached_logits_are_the_uncached_ones(backend: str, judge: Judge, tmp_path: Path) -> None:
    """Token by token on a backend, and in ONNX Runtime on the file that it exported, against the whole sequence."""
    model = moved(models.build("gpt2", time=8, dropout=0.0, **SMALL))
    steps, state = models.gpt_steps(model), models.gpt_state(2)
    export(steps.graph, tmp_path / "gpt.onnx")
    session = runtime.session(tmp_path / "gpt.onnx")
    program = compile(steps.graph, backend=backend, device="cpu")
    sides = {}
    for side, step in (("cached", program.predict), ("onnxruntime", lambda feeds: runtime.run(session, feeds))):
        held, columns = {n: np.zeros((3, 2, 8, 4), np.float32) for n in state}, []
        for place in range(8):
            found = step({**held, "tokens": TOKENS[:, place : place + 1], "position": np.full(3, place)})
            held = {n: found[o] for n, o in state.items()}
            columns.append(found["logits"])
        sides[side] = {"logits": np.concatenate(columns, 2)}
    judge(model.graph, {"tokens": TOKENS}, sides, (backend,))


def test_sequences_of_a_batch_may_stand_at_different_places() -> None:
    model = moved(models.build("gpt2", time=8, dropout=0.0, **SMALL))
    steps, state = models.gpt_steps(model), models.gpt_state(2)
    program = compile(steps.graph, backend="torch", device="cpu")

    def run(starts: list[int]) -> np.ndarray:
        held, last = {n: np.zeros((2, 2, 8, 4), np.float32) for n in state}, np.zeros((2, 13, 1), np.float32)
        for place in range(6):
            now = np.array([max(0, place - s) for s in starts])
            found = program.predict({**held, "tokens": TOKENS[np.arange(2), now][:, None], "position": now})
            held, last = {n: found[o] for n, o in state.items()}, found["logits"]
        return last

    np.testing.assert_allclose(run([0, 2])[0], run([0, 0])[0], rtol=1e-5, atol=1e-6)
    whole = compile(model.graph, backend="torch", device="cpu").predict({"tokens": TOKENS})["logits"]
    np.testing.assert_allclose(run([0, 2])[1, :, 0], whole[1, :, 3], rtol=1e-4, atol=1e-5)


def test_all_backends_and_the_file_write_the_same_text(backend: str, tmp_path: Path) -> None:
    model = moved(models.build("char_lstm", vocabulary=13, embedding=4, hidden=8, time=None))
    steps = models.char_steps(model)
    export(steps.graph, tmp_path / "char.onnx")
    session = runtime.session(tmp_path / "char.onnx")
    program = compile(steps.graph, backend=backend, device="cpu")
    options: dict[str, Any] = {"state": models.CHAR_STATE, "temperature": 0.8, "top_k": 5, "seed": 4}
    prompt = TOKENS[:, :3]
    text = models.generate(program.predict, steps.graph, prompt, 12, **options)
    assert text.shape == (3, 15)
    np.testing.assert_array_equal(text[:, :3], prompt)
    np.testing.assert_array_equal(models.generate(lambda f: runtime.run(session, f), steps.graph, prompt, 12, **options), text)
    assert not np.array_equal(models.generate(program.predict, steps.graph, prompt, 12, **{**options, "seed": 5}), text)


def test_states_carry_what_was_read(backend: str, judge: Judge) -> None:
    model = moved(models.build("char_lstm", vocabulary=13, embedding=4, hidden=8, time=8))
    program = compile(models.char_steps(model).graph, backend=backend, device="cpu")
    state, columns = {n: np.zeros((2, 3, 8), np.float32) for n in ("h", "c")}, []
    for place in range(8):
        found = program.predict({**state, "tokens": TOKENS[:, place : place + 1]})
        state = {n: found[o] for n, o in models.CHAR_STATE.items()}
        columns.append(found["logits"])
    judge(model.graph, {"tokens": TOKENS}, {"steps": {"logits": np.concatenate(columns, 2)}}, (backend,))


def test_draws_have_the_probabilities_of_the_formula() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    generator = random.generator(0, "sample")
    for temperature, top_k in ((1.0, None), (0.5, None), (2.0, 3)):
        want = np.exp(logits / temperature)
        want[4 if top_k is None else top_k :] = 0
        draws = models.sample(np.tile(logits, (40000, 1)), generator, temperature, top_k)
        np.testing.assert_allclose(np.bincount(draws, minlength=4) / 40000, want / want.sum(), atol=0.01)


def test_temperature_zero_is_greedy_and_ties_go_to_the_lower_number() -> None:
    rows, generator = np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 2.0]]), random.generator(0, "sample")
    assert models.sample(rows, generator, 0).tolist() == [1, 0]
    assert models.sample(rows, generator, 1.0, 1).tolist() == [1, 0]


def test_impossible_requests_are_refused() -> None:
    row, generator = np.zeros((1, 3)), random.generator(0, "sample")
    with pytest.raises(ConfigError, match="temperature is 0 or more, received -1"):
        models.sample(row, generator, -1)
    with pytest.raises(ConfigError, match="top_k is 1 or more, received 0"):
        models.sample(row, generator, 1.0, 0)
    gpt = models.build("gpt2", time=8, **SMALL)
    steps = models.gpt_steps(gpt, 6)
    with pytest.raises(ConfigError, match=r"a text of 8 tokens \(3 of them the prompt\) needs 7 places, the cache has 6"):
        models.generate(lambda f: {}, steps.graph, TOKENS[:, :3], 5, state=models.gpt_state(2))
    with pytest.raises(ConfigError, match="at least one token"):
        models.generate(lambda f: {}, steps.graph, TOKENS[:, :0], 5, state=models.gpt_state(2))
    with pytest.raises(GraphError, match="expected a model of a GPT, received one of MLP"):
        models.gpt_steps(models.build("mlp"))
    with pytest.raises(GraphError, match="expected a model of a CharLanguageModel, received one of GPT"):
        models.char_steps(gpt)
    with pytest.raises(GraphError, match="capacity is 1 to 8, the model's positions; received 9"):
        models.gpt_steps(gpt, 9)
