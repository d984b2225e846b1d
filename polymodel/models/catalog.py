"""Every model of this package by the name that configurations use, with its paper and what it is fed."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

from polymodel.errors import ConfigError
from polymodel.model import Model
from polymodel.models.autoencoder import VAE, Autoencoder
from polymodel.models.bert import BertClassifier, BertMaskedLM
from polymodel.models.dcgan import Discriminator, Generator
from polymodel.models.digits import DigitsCNN
from polymodel.models.gpt import GPT
from polymodel.models.language import CharLanguageModel
from polymodel.models.lenet import LeNet
from polymodel.models.mlp import MLP
from polymodel.models.mobilenet import MobileNetV2
from polymodel.models.recurrent import GRUClassifier, LSTMClassifier
from polymodel.models.resnet import ResNet
from polymodel.models.sentence import SentenceEncoder
from polymodel.models.transformer import TransformerClassifier
from polymodel.models.unet import UNet
from polymodel.models.vgg import VGG
from polymodel.nn.module import Module
from polymodel.spec import TensorSpec

Options: TypeAlias = Mapping[str, Any]


@final
@dataclass(frozen=True)
class Entry:
    """A model that has a name.

    Attributes:
        module: its class.
        inputs: specs of the inputs for all options.
        paper: where it is from.
        options: those that make the name, which differ from the defaults of the class.
        sizes: further options with their defaults, which only the inputs have.
        outputs: names of what it returns.
    """

    module: Callable[..., Module[Any]]
    inputs: Callable[[Options], dict[str, TensorSpec]]
    paper: str
    options: Options = field(default_factory=dict)
    sizes: Options = field(default_factory=dict)
    outputs: tuple[str, ...] = ("logits",)

    @property
    def defaults(self) -> dict[str, Any]:
        """All options with the values that they have when none is given."""
        own = {n: p.default for n, p in inspect.signature(self.module).parameters.items()}
        return {**own, **self.sizes, **self.options}


def _images(o: Options) -> dict[str, TensorSpec]:
    return {"x": TensorSpec(("batch", o["channels"], o["image"], o["image"]))}


def _vectors(o: Options) -> dict[str, TensorSpec]:
    return {"x": TensorSpec(("batch", o["sizes"][0]))}


def _sequences(o: Options) -> dict[str, TensorSpec]:
    x = {"x": TensorSpec(("batch", o["time"] or "time", o["inputs"]))}
    return {**x, "lengths": TensorSpec(("batch",), "int32")} if o["lengths"] else x


def _steps(o: Options) -> dict[str, TensorSpec]:
    return {"x": TensorSpec(("batch", o["time"], o["size"]))}


def _tokens(o: Options) -> dict[str, TensorSpec]:
    return {"tokens": TensorSpec(("batch", o["time"] or "time"), "int64")}


def _masked(o: Options) -> dict[str, TensorSpec]:
    spec = TensorSpec(("batch", o["time"] or "time"), "int64")
    return dict.fromkeys(("tokens", "mask", "segments") if o["pairs"] else ("tokens", "mask"), spec)


def _noise(o: Options) -> dict[str, TensorSpec]:
    return {"z": TensorSpec(("batch", o["noise"]))}


def _noisy(o: Options) -> dict[str, TensorSpec]:
    return {"x": TensorSpec(("batch", o["pixels"])), "noise": TensorSpec(("batch", o["latent"]))}


_LECUN = "LeCun et al., Gradient-based learning applied to document recognition, 1998"
_BERT = "Devlin et al., BERT: pre-training of deep bidirectional transformers for language understanding, 2019"
_DCGAN = "Radford et al., Unsupervised representation learning with deep convolutional generative adversarial networks, 2016"
_VGG = "Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2015"
_RESNET = "He et al., Deep residual learning for image recognition, 2016"

CATALOG: dict[str, Entry] = {
    "mlp": Entry(MLP, _vectors, "Rumelhart et al., Learning representations by back-propagating errors, 1986"),
    "lenet": Entry(LeNet, _images, _LECUN, {"channels": 1, "image": 28}),
    "digits_cnn": Entry(DigitsCNN, _images, f"{_LECUN}; with BatchNorm and dropout", {}, {"channels": 1, "image": 8}),
    "vgg11": Entry(VGG, _images, _VGG, {"depth": 11}),
    "vgg16": Entry(VGG, _images, _VGG, {"depth": 16}),
    "resnet18": Entry(ResNet, _images, _RESNET, {"depth": 18, "classes": 10, "small": True}, {"image": 32}),
    "resnet34": Entry(ResNet, _images, _RESNET, {"depth": 34}, {"image": 224}),
    "resnet50": Entry(ResNet, _images, f"{_RESNET}; version 1.5", {"depth": 50}, {"image": 224}),
    "mobilenet_v2": Entry(
        MobileNetV2, _images, "Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, 2018", {},
        {"image": 224},
    ),
    "unet": Entry(
        UNet, _images, "Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, 2015", {},
        {"image": 572},
    ),
    "lstm": Entry(
        LSTMClassifier, _sequences, "Hochreiter and Schmidhuber, Long short-term memory, 1997", {},
        {"time": 64, "lengths": False},
    ),
    "gru": Entry(
        GRUClassifier, _sequences, "Cho et al., Learning phrase representations using RNN encoder-decoder, 2014", {},
        {"time": 64, "lengths": False},
    ),
    "transformer": Entry(TransformerClassifier, _steps, "Vaswani et al., Attention is all you need, 2017; norm first"),
    "char_lstm": Entry(
        CharLanguageModel, _tokens, "Graves, Generating sequences with recurrent neural networks, 2013", {}, {"time": 64}
    ),
    "gpt2": Entry(
        GPT, _tokens, "Radford et al., Language models are unsupervised multitask learners, 2019", {}, {"time": 1024}
    ),
    "bert_masked_lm": Entry(BertMaskedLM, _masked, _BERT, {}, {"time": 128, "pairs": False}),
    "bert_classifier": Entry(BertClassifier, _masked, _BERT, {}, {"time": 128, "pairs": False}),
    "sentence_encoder": Entry(
        SentenceEncoder, _masked, "Reimers and Gurevych, Sentence-BERT: sentence embeddings using Siamese BERT-networks, 2019", {},
        {"time": None, "pairs": False}, ("embedding",),
    ),
    "dcgan_generator": Entry(Generator, _noise, _DCGAN, outputs=("image",)),
    "dcgan_discriminator": Entry(Discriminator, _images, _DCGAN),
    "autoencoder": Entry(
        Autoencoder, _vectors, "Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006",
        outputs=("logits", "code"),
    ),
    "vae": Entry(VAE, _noisy, "Kingma and Welling, Auto-encoding variational Bayes, 2014", outputs=("logits", "kl", "mean")),
}  # fmt: skip
"""By name. The five reference models among them have the sizes that benchmarks and conformance give them."""


def build(name: str, seed: int = 0, **options: Any) -> Model:
    """A model by name.

    Args:
        name: see CATALOG.
        seed: of the initial values.
        options: what to change of `CATALOG[name].defaults`: arguments of its class, and sizes of its inputs.

    Raises:
        ConfigError: there is no such model or option, or a value is impossible.

    Example:
        >>> model = build("resnet18", classes=5, channels=1, image=28)
        >>> model.graph.specs["x"], model.graph.specs["logits"].shape
        (TensorSpec(shape=('batch', 1, 28, 28), dtype='float32'), ('batch', 5))
    """
    entry = check(name, options)
    return Model(module(name, **options), entry.inputs({**entry.defaults, **options}), entry.outputs, seed)


def module(name: str, **options: Any) -> Module[Any]:
    """The module of `build`, which has no values yet.

    Raises:
        ConfigError: as `build`.

    Example:
        >>> import math
        >>> sum(math.prod(p.shape) for _, p in module("resnet50").named_parameters())
        25557032
    """
    entry = check(name, options)
    found = {**entry.defaults, **options}
    own = inspect.signature(entry.module).parameters
    return entry.module(**{n: _frozen(v) for n, v in found.items() if n in own})


def check(name: str, options: Options) -> Entry:
    """The entry of a name, if it has all of some options.

    Raises:
        ConfigError: there is no such model or option.
    """
    if name not in CATALOG:
        raise ConfigError(f"unknown model {name!r};{_near(name, CATALOG)} known are {', '.join(CATALOG)}")
    known = CATALOG[name].defaults
    for option in options:
        if option not in known:
            raise ConfigError(f"{name} has no option {option!r};{_near(option, known)} it has {', '.join(known)}")
    return CATALOG[name]


def _near(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" did you mean {close[0]!r}?" if close else ""


def _frozen(value: Any) -> Any:
    """Lists of a configuration as tuples."""
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
