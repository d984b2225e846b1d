"""Models of the field: `build` makes one by name, the classes are modules for models of your own; see docs/models.md."""

from polymodel.models.autoencoder import VAE, Autoencoder, noise
from polymodel.models.bert import BertClassifier, BertEncoder, BertMaskedLM
from polymodel.models.catalog import CATALOG, build, module
from polymodel.models.dcgan import Discriminator, Generator
from polymodel.models.digits import DigitsCNN, digits_cnn
from polymodel.models.ensemble import averaging, stacking, voting
from polymodel.models.gpt import GPT, gpt_state, gpt_steps
from polymodel.models.language import CHAR_STATE, CharLanguageModel, char_steps
from polymodel.models.lenet import LeNet
from polymodel.models.mlp import MLP
from polymodel.models.mobilenet import MobileNetV2
from polymodel.models.recurrent import GRUClassifier, LSTMClassifier
from polymodel.models.reference import REFERENCE, ReferenceModel, reference
from polymodel.models.resnet import ResNet
from polymodel.models.sampling import generate, sample
from polymodel.models.sentence import SentenceEncoder, sentence_encoder
from polymodel.models.transformer import TransformerClassifier
from polymodel.models.unet import UNet
from polymodel.models.vgg import VGG

__all__ = [
    "CATALOG",
    "CHAR_STATE",
    "GPT",
    "MLP",
    "REFERENCE",
    "VAE",
    "VGG",
    "Autoencoder",
    "BertClassifier",
    "BertEncoder",
    "BertMaskedLM",
    "CharLanguageModel",
    "DigitsCNN",
    "Discriminator",
    "GRUClassifier",
    "Generator",
    "LSTMClassifier",
    "LeNet",
    "MobileNetV2",
    "ReferenceModel",
    "ResNet",
    "SentenceEncoder",
    "TransformerClassifier",
    "UNet",
    "averaging",
    "build",
    "char_steps",
    "digits_cnn",
    "generate",
    "gpt_state",
    "gpt_steps",
    "module",
    "noise",
    "reference",
    "sample",
    "sentence_encoder",
    "stacking",
    "voting",
]
