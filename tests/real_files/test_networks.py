"""Files that other projects ship: forward as ONNX Runtime computes it, fine-tuned for 20 steps, exported and verified.

The quick part takes small files; `pytest -m full tests/real_files` (part of `make conformance`) takes all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodel as pm
from polymodel.artifact import runtime
from polymodel.artifact.compare import Row
from polymodel.artifact.floor import Meaning, meaning
from polymodel.artifact.verify import judge, judge_runtime
from polymodel.graph import Graph

BACKENDS = ("torch", "tensorflow", "mxnet")
RNG = partial(np.random.default_rng, 0)
Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class File:
    """A file, inputs to try it with, and how it is fine-tuned.

    Attributes:
        distribution: package that ships it.
        ending: of its path.
        feeds: inputs for the forward check.
        tune: arguments of Model.from_onnx.
        loss: what is minimised.
        target: for a number of samples.
        inputs: for a number of samples; as feeds, by the inputs that are left.
        lr: learning rate.
        clip: the largest element of a gradient; where features are about 1e20, the square of a gradient is no number of float32.
        slow: whether it is for the full run only.
    """

    distribution: str
    ending: str
    feeds: Callable[[], Feeds]
    inputs: Callable[[int], Feeds]
    tune: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "cross_entropy"
    target: Callable[[int], np.ndarray] = lambda n: np.arange(n) % 2
    lr: float = 1e-3
    clip: float | None = None
    slow: bool = False


def normal(*shape: int) -> np.ndarray:
    return RNG().standard_normal(shape).astype(np.float32)


def image(name: str, count: int = 1) -> Feeds:
    """One image; a network of this size is trained on two."""
    return {name: normal(min(count, 2), 3, 224, 224)}


def classic(name: str, tensor: str, data: str = "data_0") -> File:
    """A network of the onnx package: for one image; its weights are one number each."""
    return File(
        "onnx",
        f"light_{name}.onnx",
        partial(image, data),
        partial(image, data),
        {"replace_head": tensor, "head": 2},
        slow=True,
    )


def speech(count: int) -> Feeds:
    return {"input": normal(count, 576)}


def speech_with_state() -> Feeds:
    return {"input": normal(4, 576), "h": normal(1, 1, 128), "c": normal(1, 1, 128)}


def voice(ending: str, rate: bool = True, count: int = 2) -> File:
    """A streaming file of silero-vad; with a sampling rate it holds a network for each, behind an If.

    The state's first axis is not that of the samples: it is fed whole, two for two samples. For a single one it is fixed.
    """

    def feeds(n: int = count) -> Feeds:
        n = min(n, count)
        given = {"input": 0.1 * normal(n, 576), "state": 0.1 * normal(2, n, 128)}
        return {**given, "sr": np.array(16000)} if rate else given

    return File(
        "silero-vad",
        f"data/{ending}",
        feeds,
        lambda n: {k: a for k, a in feeds(n).items() if k in ("input", "state")[:count]},
        {"fix": {"sr": 16000} if rate else {"state": 0.0} if count == 1 else {}},
        loss="mse",
        target=lambda n: (np.arange(n)[:, None] % 2).astype(np.float32),
        slow=True,
    )


SPEECH: dict[str, Any] = {
    "inputs": speech,
    "tune": {"fix": {"h": 0.0, "c": 0.0}, "outputs": ["speech_probs"]},
    "loss": "mse",
    "target": lambda n: (np.arange(n) % 2).astype(np.float32),
}
FILES = {
    "magika": File(
        "magika",
        "standard_v3_3/model.onnx",
        lambda: {"bytes": RNG().integers(0, 257, (2, 2048)).astype(np.int32)},
        lambda n: {"bytes": RNG().integers(0, 257, (n, 2048)).astype(np.int32)},
        {"replace_head": "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/LayerNorm_1/AddV2_1:0", "head": 2},
    ),
    "rapidocr-cls": File(
        "rapidocr-onnxruntime",
        "ppocr_mobile_v2.0_cls_infer.onnx",
        lambda: {"x": normal(2, 3, 48, 192)},
        lambda n: {"x": normal(n, 3, 48, 192)},
        {"replace_head": "reshape2_0.tmp_0", "head": 2},
    ),
    "rapidocr-det": File(
        "rapidocr-onnxruntime",
        "PP-OCRv4_det_infer.onnx",
        lambda: {"x": normal(1, 3, 64, 96)},
        lambda n: {"x": normal(n, 3, 64, 64)},
        loss="mse",
        target=lambda n: np.zeros((n, 1, 64, 64), np.float32),
        slow=True,
    ),
    "rapidocr-rec": File(
        "rapidocr-onnxruntime",
        "PP-OCRv4_rec_infer.onnx",
        lambda: {"x": normal(1, 3, 48, 64)},
        lambda n: {"x": normal(n, 3, 48, 64)},
        {"replace_head": "transpose_51.tmp_0", "head": 2},
        slow=True,
    ),
    "silero-sequence": File("silero-vad", "silero_vad_16k_sequence.onnx", speech_with_state, **SPEECH),
    "silero": voice("silero_vad.onnx"),
    "silero-op15": voice("silero_vad_16k_op15.onnx"),
    "silero-half": voice("silero_vad_half.onnx", rate=False),
    "silero-op18": voice("silero_vad_op18_ifless.onnx"),
    "silero-openvino": voice("silero_vad_openvino_16k.onnx", rate=False, count=1),
    "faster-whisper": File("faster-whisper", "silero_vad_v6.onnx", speech_with_state, **SPEECH),
    "squeezenet": classic("squeezenet", "r61"),
    "shufflenet": classic("shufflenet", "r199", "gpu_0/data_0"),
    "resnet50": classic("resnet50", "r172", "gpu_0/data_0"),
    "alexnet": classic("bvlc_alexnet", "r21"),
    "densenet121": classic("densenet121", "r908"),
    "inception_v1": replace(classic("inception_v1", "r139"), clip=1.0),
    "inception_v2": classic("inception_v2", "r505"),
    "vgg19": replace(classic("vgg19", "r43"), clip=1.0),
    "zfnet512": classic("zfnet512", "r19", "gpu_0/data_0"),
}


QUICK_FORWARD = {"squeezenet"}


def parameters(quick: set[str]) -> list[Any]:
    return [
        pytest.param(
            name, backend, marks=[pytest.mark.full] if file.slow and name not in quick else [], id=f"{name}-{backend}"
        )
        for name, file in FILES.items()
        for backend in BACKENDS
    ]


# One file at a time: its tests follow each other, and vgg19 holds half a gigabyte in each of these.
@lru_cache(1)
def loaded(path: Path) -> Graph:
    return pm.load_onnx(path, trainable="none")


@lru_cache(1)
def judged(path: Path, name: str) -> tuple[dict[str, Meaning], list[Row]]:
    """What the file means, and what ONNX Runtime makes of it."""
    graph, feeds = loaded(path), FILES[name].feeds()
    want = meaning(graph, feeds)
    return want, judge_runtime(lambda: runtime.run(runtime.session(path), feeds), graph, feeds, want)


@lru_cache(1)
def prepared(path: Path, name: str) -> Graph:
    """What `Model.from_onnx` makes of the file."""
    return pm.Model.from_onnx(path, **FILES[name].tune).graph


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "backend"), parameters(QUICK_FORWARD))
def test_forward(name: str, backend: str, find: Any) -> None:
    """A backend and ONNX Runtime compute what the file means, within its rounding floor."""
    file = FILES[name]
    path = find(file.distribution, file.ending)
    graph, feeds = loaded(path), file.feeds()
    want, rows = judged(path, name)
    program = pm.compile(graph, backend, "cpu")
    rows = rows + judge(backend, lambda: program.predict(feeds), graph, feeds, want)
    assert [r.verdict for r in rows] == ["pass"] * len(rows), rows


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "backend"), parameters(set()))
def test_fine_tuning(name: str, backend: str, find: Any, tmp_path: Path) -> None:
    """Twenty steps make the loss smaller; what was trained is written and verified."""
    file = FILES[name]
    model = pm.Model.from_graph(prepared(find(file.distribution, file.ending), name))
    x = file.inputs(4)
    y = file.target(len(next(iter(x.values()))))
    clip = None if file.clip is None else {"value": file.clip}
    trainer = pm.Trainer(model, file.loss, pm.optim.Adam(file.lr), clip=clip, backend=backend, device="cpu")
    losses = [trainer.train_on_batch(x, y)["loss"] for _ in range(20)]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < losses[0], losses
    few = {n: a[:2] for n, a in x.items()}
    pm.export(model_of(trainer), tmp_path / "tuned.onnx", inputs=few, program=pm.compile(model_of(trainer), backend, "cpu"))
    again = pm.load_onnx(tmp_path / "tuned.onnx")
    assert again.hash == model.graph.hash
    assert list(again.parameters) == list(model.parameters)


def model_of(trainer: pm.Trainer) -> Graph:
    """The trained graph."""
    trainer.model.values = {**trainer.program.parameters, **trainer.program.buffers}
    return trainer.model.graph
