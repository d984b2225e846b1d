"""Image models: sizes as published, outputs as those of other implementations with the same weights."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from polymodel import Model, models
from polymodel.errors import ConfigError, ShapeError
from tests.models.conftest import Judge, parameter_count

PUBLISHED = {
    "vgg11": 132_863_336,
    "vgg16": 138_357_544,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
}
"""As torchvision 0.29 counts them, https://pytorch.org/vision/stable/models.html (`num_params`)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name: str) -> None:
    assert parameter_count(models.module(name)) == PUBLISHED[name]


def test_resnet18_for_large_images_has_the_published_parameters() -> None:
    assert parameter_count(models.module("resnet18", classes=1000, small=False)) == 11_689_512


def test_unet_is_that_of_figure_1() -> None:
    """31,030,658 parameters; 572 x 572 to 388 x 388; 23 convolutions (section 2 of the paper)."""
    assert parameter_count(models.module("unet")) == 31_030_658
    graph = models.build("unet", width=4).graph
    assert graph.specs["logits"].shape == ("batch", 2, 388, 388)
    kinds = [n.op_type for n in graph.model.graph]
    assert kinds.count("Conv") + kinds.count("ConvTranspose") == 23


def start(model: Model, seed: int = 0) -> None:
    """Values of trained sizes: BatchNorm with statistics that are not those of the start."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, value in model.values.items():
        if name.endswith("running_var"):
            found[name] = rng.uniform(0.5, 1.5, value.shape)
        elif value.ndim > 1:
            found[name] = rng.standard_normal(value.shape) * np.sqrt(2 / np.prod(value.shape[1:]))
        else:
            found[name] = value + 0.1 * rng.standard_normal(value.shape)
    model.values = {n: a.astype(model.values[n].dtype) for n, a in found.items()}


def keras_weights(layer: Any, model: Model, convolution: str, norm: str | None) -> None:
    """Copy the tensors of our layers into Keras layers."""
    v = model.values
    kind = type(layer).__name__
    if kind == "BatchNormalization":
        layer.set_weights([v[f"{norm}.{n}"] for n in ("weight", "bias", "running_mean", "running_var")])
    elif kind == "DepthwiseConv2D":
        layer.set_weights([v[f"{convolution}.weight"].transpose(2, 3, 0, 1)])
    elif kind == "Conv2D":
        rest = [v[f"{convolution}.bias"]] if layer.use_bias else []
        layer.set_weights([v[f"{convolution}.weight"].transpose(2, 3, 1, 0), *rest])
    else:
        layer.set_weights([v[f"{convolution}.weight"].T, v[f"{convolution}.bias"]])


def owners(model: Model, what: str) -> list[str]:
    """Paths of the layers that have a tensor, in the order of the graph."""
    return [n.rpartition(".")[0] for n in model.values if n.endswith(what)]


def keras_applications() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras").applications


def copied(theirs: Any, ours: Model) -> None:
    """All weights of ours into a Keras model whose layers come in the same order."""
    norms = owners(ours, ".running_mean")
    dense = [n for n in owners(ours, ".weight") if n not in norms]
    for layer in theirs.layers:
        if layer.weights:
            is_norm = type(layer).__name__ == "BatchNormalization"
            keras_weights(layer, ours, "" if is_norm else dense.pop(0), norms.pop(0) if is_norm else None)
    assert not norms
    assert not dense


def test_vgg16_computes_what_keras_computes(judge: Judge) -> None:
    theirs = keras_applications().VGG16(weights=None, input_shape=(32, 32, 3), include_top=False)
    ours = models.build("vgg16", image=32, hidden=8, classes=5)
    start(ours)
    features = Model(ours.source.features, ours.inputs, ["features"])  # type: ignore[union-attr]
    features.values = {n.removeprefix("features."): a for n, a in ours.values.items() if n.startswith("features.")}
    copied(theirs, features)
    x = np.random.default_rng(1).standard_normal((2, 3, 32, 32), dtype=np.float32)
    y = theirs.predict(x.transpose(0, 2, 3, 1), verbose=0).transpose(0, 3, 1, 2)
    judge(features.graph, {"x": x}, {"keras": {"features": y}})


def test_mobilenet_v2_computes_what_keras_computes(judge: Judge) -> None:
    """On 33 x 33 pixels, where every strided layer meets an odd size and both pad alike."""
    theirs = keras_applications().MobileNetV2(weights=None, input_shape=(33, 33, 3), classes=7, classifier_activation=None)
    ours = models.build("mobilenet_v2", classes=7, image=33, eps=1e-3)
    assert parameter_count(models.module("mobilenet_v2", classes=7)) == sum(int(np.prod(w.shape)) for w in theirs.trainable_weights)
    start(ours)
    copied(theirs, ours)
    x = np.random.default_rng(1).standard_normal((2, 3, 33, 33), dtype=np.float32)
    judge(ours.graph, {"x": x}, {"keras": {"logits": theirs.predict(x.transpose(0, 2, 3, 1), verbose=0)}})


def test_resnet50_computes_what_a_hand_written_one_computes(judge: Judge) -> None:
    torch = pytest.importorskip("torch")
    from polymodel_torch.native_networks import resnet50

    ours, theirs = models.build("resnet50", image=64), resnet50().eval()
    start(ours)
    tensors = [n for n in theirs.state_dict() if not n.endswith("num_batches_tracked")]
    values = theirs.state_dict()
    for name, (path, own) in zip(tensors, sorted_as_state(ours).items(), strict=True):
        assert values[name].shape == own.shape, (name, path)
        values[name].copy_(torch.from_numpy(own))
    x = np.random.default_rng(1).standard_normal((1, 3, 64, 64), dtype=np.float32)
    with torch.no_grad():
        y = theirs(torch.from_numpy(x)).numpy()
    judge(ours.graph, {"x": x}, {"hand-written": {"logits": y}}, runs=2)


def sorted_as_state(model: Model) -> dict[str, np.ndarray]:
    """Values in the order of a state_dict: parameters and buffers of a layer side by side."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name in model.parameters:
        layers.setdefault(name.rpartition(".")[0], {})
    for name, value in model.values.items():
        layers[name.rpartition(".")[0]][name] = value
    return {n: a for layer in layers.values() for n, a in layer.items()}


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="VGG halves the image five times: expected a multiple of 32, received 48"):
        models.build("vgg11", image=48)
    with pytest.raises(ConfigError, match="VGG has 11, 13, 16, 19 weight layers, received 12"):
        models.VGG(12)
    with pytest.raises(ConfigError, match="ResNet has 18, 34, 50 weight layers, received 101"):
        models.ResNet(101)
    with pytest.raises(ShapeError, match="choose an image whose height and width are even on every level"):
        models.build("unet", image=100, padding=1)
