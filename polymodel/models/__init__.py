"""Models of the field: `build` makes one by name, the classes are modules for models of your own; see docs/models.md."""

from polymodel.models.catalog import CATALOG, build, module
from polymodel.models.digits import DigitsCNN, digits_cnn
from polymodel.models.lenet import LeNet
from polymodel.models.mlp import MLP
from polymodel.models.mobilenet import MobileNetV2
from polymodel.models.recurrent import GRUClassifier, LSTMClassifier
from polymodel.models.reference import REFERENCE, ReferenceModel, reference
from polymodel.models.resnet import ResNet
from polymodel.models.transformer import TransformerClassifier
from polymodel.models.unet import UNet
from polymodel.models.vgg import VGG

__all__ = [
    "CATALOG",
    "MLP",
    "REFERENCE",
    "VGG",
    "DigitsCNN",
    "GRUClassifier",
    "LSTMClassifier",
    "LeNet",
    "MobileNetV2",
    "ReferenceModel",
    "ResNet",
    "TransformerClassifier",
    "UNet",
    "build",
    "digits_cnn",
    "module",
    "reference",
]
