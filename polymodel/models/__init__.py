"""Models: the five reference models that conformance and benchmarks use, and a small one for the digits images."""

from polymodel.models.digits import digits_cnn
from polymodel.models.lenet import LeNet
from polymodel.models.lstm import LSTMClassifier
from polymodel.models.mlp import MLP
from polymodel.models.reference import REFERENCE, ReferenceModel, reference
from polymodel.models.resnet import ResNet18
from polymodel.models.transformer import TransformerClassifier

__all__ = [
    "MLP",
    "REFERENCE",
    "LSTMClassifier",
    "LeNet",
    "ReferenceModel",
    "ResNet18",
    "TransformerClassifier",
    "digits_cnn",
    "reference",
]
