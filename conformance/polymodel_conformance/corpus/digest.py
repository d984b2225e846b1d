"""What the corpus is, as a hash for each part of it; digests.json holds what it should be.

``python -m polymodel_conformance.corpus.digest`` writes digests.json anew: after cases were added, and only then.
A digest covers names, graphs, parameters and the inputs of the first draw. Floats are taken to 2^-12, so that the last bit of
another machine's mathematical library changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx

from polymodel_conformance.corpus.entry import Entry
from polymodel_conformance.corpus.generated import generated
from polymodel_conformance.corpus.layers import layers
from polymodel_conformance.corpus.losses import with_losses
from polymodel_conformance.corpus.metrics import with_metrics
from polymodel_conformance.corpus.models import with_models
from polymodel_conformance.corpus.official import official
from polymodel_conformance.corpus.special import special

PATH = Path(__file__).with_name("digests.json")
WAY_OUT = "if that is meant, run python -m polymodel_conformance.corpus.digest"
PARTS: dict[str, Callable[[], Iterable[Entry]]] = {
    "generated": generated,
    "special": special,
    "layers": lambda: layers(training=False),
    "layers in training": lambda: layers(training=True),
    "losses": with_losses,
    "metrics": with_metrics,
    "models": lambda: with_models(training=False),
    "models in training": lambda: with_models(training=True),
    "standard in short": lambda: official(whole=False),
    "standard": official,
}
"""Parts of the corpus by name. The last two come with the onnx package and are others in another version of it."""


def digest(entries: Iterable[Entry]) -> str:
    """Number of entries and the first 16 digits of their hash."""
    found, number = hashlib.sha256(), 0
    for entry in entries:
        number += 1
        found.update(f"{entry.name}\0{entry.graph.hash}\0".encode())
        values = {**entry.graph.parameters, **entry.graph.buffers, **entry.draw(0)}
        for name, value in values.items():
            array = np.asarray(value)
            found.update(f"{name} {array.dtype} {array.shape}\0".encode() + _coarse(array))
    return f"{number} {found.hexdigest()[:16]}"


def _coarse(array: np.ndarray) -> bytes:
    if array.dtype.kind not in "fc":
        return np.ascontiguousarray(array).tobytes()
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag])
    wide = array.astype(np.float64)
    coarse = np.rint(np.clip(np.where(np.isnan(wide), 0.0, wide), -(2.0**40), 2.0**40) * 2.0**12).astype(np.int64)
    return bytes(np.isnan(wide).tobytes() + coarse.tobytes())


def recorded() -> dict[str, str]:
    """Digest by part, and under "onnx" the version that the last part came with."""
    found: dict[str, str] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Write digests.json."""
    found = {"onnx": onnx.__version__, **{part: digest(entries()) for part, entries in PARTS.items()}}
    PATH.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(PATH.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
