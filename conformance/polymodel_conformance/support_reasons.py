"""Why an operator is missing or runs on the host: a sentence for each, with a place to read on."""

from __future__ import annotations

from polymodel.host.rules import SEQUENCES, STRINGS, TREES
from polymodel.support import MISSING

_HOST = {
    **dict.fromkeys(STRINGS, "no framework holds strings"),
    **dict.fromkeys(
        (*SEQUENCES, "Optional", "OptionalGetElement", "OptionalHasElement"),
        "no framework's graph holds sequences and optionals; their tensors are computed by the backend",
    ),
    "ImageDecoder": "decoding of image files has no kernel that all frameworks share; Pillow decodes",
    "NonMaxSuppression": "MXNet's kernel differs from the standard, and how many boxes are kept depends on their values",
    "Unique": "MXNet has no kernel with its meaning, and how many values there are depends on the values",
}
_TREES = "classical machine learning, without derivatives in the standard; none of the frameworks has kernels for it"
_MISSING = {"Gradient": "derivatives are asked of a program (`program.gradients`), not by an operator inside a graph"}


def reason(domain: str, name: str, word: str) -> str:
    """Why an operator is missing (MISSING) or runs on the host.

    Raises:
        KeyError: nobody wrote why.
    """
    if word == MISSING:
        return _MISSING[name]
    return _TREES if domain == "ai.onnx.ml" and name in TREES else _HOST[name]
