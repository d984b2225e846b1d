"""Generating text: drawing the next token from logits, and the loop that feeds it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polymodel import random
from polymodel.errors import ConfigError
from polymodel.graph import Graph

Step = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""One step of a model: `Program.predict`, or a run of ONNX Runtime on the exported file."""


def sample(logits: np.ndarray, generator: np.random.Generator, temperature: float = 1.0, top_k: int | None = None) -> np.ndarray:
    """Draw a class for each row of logits.

    The probabilities are softmax(logits / temperature) in float64 over the top_k classes of highest logit (ties go to the lower
    number); one uniform number for each row picks from their cumulated sum (Fan et al., "Hierarchical neural story generation", 2018,
    section 4.2).

    Args:
        logits: (batch, classes).
        generator: see polymodel.random.
        temperature: above 1 flattens, below 1 sharpens; 0 takes the class of highest logit.
        top_k: how many classes may be drawn; all when None.

    Returns:
        int64 (batch,).

    Raises:
        ConfigError: a temperature below 0, or top_k below 1.

    Example:
        >>> sample(np.array([[0.0, 5.0, 1.0]]), random.generator(0, "sample"), top_k=1)
        array([1])
    """
    if not temperature >= 0:
        raise ConfigError(f"temperature is 0 or more, received {temperature}")
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k is 1 or more, received {top_k}")
    scores = np.asarray(logits, np.float64)
    if temperature == 0:
        return np.asarray(scores.argmax(1))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    kept = np.take_along_axis(scores, order, 1) / temperature
    shares = np.exp(kept - kept[:, :1])
    cumulated = np.cumsum(shares, 1)
    threshold = generator.random((len(scores), 1)) * cumulated[:, -1:]
    place = np.minimum((cumulated <= threshold).sum(1), order.shape[1] - 1)
    drawn: np.ndarray = np.take_along_axis(order, place[:, None], 1)[:, 0]
    return drawn


def generate(
    step: Step,
    graph: Graph,
    prompt: np.ndarray,
    length: int,
    *,
    state: Mapping[str, str],
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Continue sequences of tokens, one token at a time.

    Token number n of a run is drawn with the stream (seed, "sample", "", n): the same logits give the same text on every backend.

    Args:
        step: see Step; `graph`'s inputs to its outputs.
        graph: a model with input "tokens" int64 (batch, 1), a state, perhaps "position" int64 (batch,), and output "logits" (batch,
            vocabulary, 1); see char_steps and gpt_steps.
        prompt: int64 (batch, time), at least one token.
        length: how many tokens to add.
        state: input of the state -> output that it is fed with next; it begins with zeros.
        temperature: see sample.
        top_k: see sample.
        seed: of the draws.

    Returns:
        int64 (batch, time + length): the prompt and what came of it.

    Raises:
        ConfigError: there is no prompt, or the model's positions end before the text.
    """
    tokens = np.asarray(prompt, np.int64)
    if tokens.ndim != 2 or not tokens.size or length < 0:
        raise ConfigError(f"expected a prompt (batch, time) of at least one token, received shape {tokens.shape} and length {length}")
    total, batch = tokens.shape[1] + length, len(tokens)
    held = {n: _zeros(graph, n, batch) for n in state}
    _check_capacity(graph, total, tokens.shape[1])
    for place in range(total - 1):
        feeds = {**held, "tokens": tokens[:, place : place + 1]}
        if "position" in graph.inputs:
            feeds["position"] = np.full(batch, place, np.int64)
        found = step(feeds)
        held = {n: np.asarray(found[o]) for n, o in state.items()}
        if place + 1 == tokens.shape[1]:
            new = sample(np.asarray(found["logits"])[:, :, 0], random.generator(seed, "sample", step=place + 1), temperature, top_k)
            tokens = np.concatenate([tokens, new[:, None]], 1)
    return tokens


def _zeros(graph: Graph, name: str, batch: int) -> np.ndarray:
    spec = graph.specs[name]
    return np.zeros(tuple(d if isinstance(d, int) else batch for d in spec.shape), spec.dtype)


def _check_capacity(graph: Graph, total: int, prompt: int) -> None:
    if "position" not in graph.inputs:
        return
    caches: Sequence[int] = [d for n in graph.inputs if (s := graph.specs[n]).rank == 4 for d in s.shape[2:3] if isinstance(d, int)]
    if caches and total - 1 > min(caches):
        raise ConfigError(f"a text of {total} tokens ({prompt} of them the prompt) needs {total - 1} places, the cache has {min(caches)}")
