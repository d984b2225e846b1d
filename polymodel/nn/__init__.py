"""Layers. A layer builds a graph of ONNX operators; it never runs on data."""

from polymodel.nn import functional, init
from polymodel.nn.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from polymodel.nn.attention import KeyValueCache, MultiheadAttention
from polymodel.nn.container import ModuleList, Sequential
from polymodel.nn.convolution import Conv1d, Conv2d, ConvTranspose2d
from polymodel.nn.dropout import Dropout
from polymodel.nn.embedding import Embedding
from polymodel.nn.linear import Linear
from polymodel.nn.module import Module
from polymodel.nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm
from polymodel.nn.parameter import Buffer, Parameter
from polymodel.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, Flatten, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d
from polymodel.nn.recurrent import GRU, LSTM
from polymodel.nn.transformer import TransformerEncoderLayer
from polymodel.tensor import Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "SELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "Hardsigmoid",
    "Hardswish",
    "KeyValueCache",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool2d",
    "Mish",
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "PReLU",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tensor",
    "TransformerEncoderLayer",
    "functional",
    "init",
]
