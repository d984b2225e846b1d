"""A character language model on the documentation of the Python language, which every Python has (pydoc_data.topics).

    python examples/char_language_model.py --backend torch

Prints the perplexity of text that was set aside after each epoch, and then what the model writes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import polymodel as pm


def text(length: int) -> str:
    """The first characters of all topics in their order, plain ASCII."""
    from pydoc_data.topics import topics

    whole = "\n".join(topics[name] for name in sorted(topics))
    return whole.encode("ascii", "ignore").decode()[:length]


def windows(tokens: np.ndarray, time: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the text, and what comes after each of their characters."""
    count = (len(tokens) - 1) // time
    return tokens[: count * time].reshape(count, time), tokens[1 : count * time + 1].reshape(count, time)


def main(arguments: Sequence[str] | None = None) -> tuple[list[float], str]:
    """Train, print, and return the perplexities and the sampled text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", help="torch, tensorflow or mxnet")
    parser.add_argument("--characters", type=int, default=400_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--prompt", default="The ")
    parser.add_argument("--length", type=int, default=300)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--top-k", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="little text, a small model")
    options = parser.parse_args(arguments)
    if options.quick:
        options.characters, options.epochs, options.hidden, options.length = 30_000, 3, 32, 20

    corpus = text(options.characters)
    alphabet = sorted(set(corpus))
    numbers = {c: i for i, c in enumerate(alphabet)}
    tokens = np.array([numbers[c] for c in corpus], np.int64)
    cut = len(tokens) * 9 // 10
    train, held = windows(tokens[:cut], 64), windows(tokens[cut:], 64)

    model = pm.models.build("char_lstm", vocabulary=len(alphabet), embedding=32, hidden=options.hidden, time=64, dropout=0.1)
    trainer = pm.Trainer(
        model, "cross_entropy", {"name": "adam", "lr": 4e-3}, ["perplexity"], clip={"norm": 1.0},
        schedule={"name": "cosine", "length": options.epochs}, backend=options.backend, device="cpu",
    )
    first = trainer.evaluate(held)["perplexity"]
    history = trainer.fit(train, epochs=options.epochs, batch_size=32, validation=held)
    perplexities = [first, *(row["val_perplexity"] for row in history)]
    print(f"{trainer.program.backend.name}: perplexity {', '.join(f'{p:.2f}' for p in perplexities)} after 0, 1, ... epochs")

    steps = pm.models.char_steps(model)
    program = pm.compile(steps.graph, backend=options.backend, device="cpu")
    prompt = np.array([[numbers[c] for c in options.prompt]])
    found = pm.models.generate(
        program.predict, steps.graph, prompt, options.length, state=pm.models.CHAR_STATE,
        temperature=options.temperature, top_k=options.top_k,
    )
    written = "".join(alphabet[i] for i in found[0])
    print(written)
    return perplexities, written


if __name__ == "__main__":
    main()
