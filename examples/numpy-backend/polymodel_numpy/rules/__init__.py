"""Rules of the NumPy backend: importing this package fills the table."""

from polymodel_numpy.rules import convolution, elementwise, indexing, linear, loss, movement, normalization, pooling, reduction  # noqa: F401
from polymodel_numpy.rules.table import TABLE

__all__ = ["TABLE"]
