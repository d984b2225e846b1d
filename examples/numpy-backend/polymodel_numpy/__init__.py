"""NumPy backend of polymodel: the smallest that predicts, differentiates and trains."""

from polymodel.backend import Backend


def load() -> Backend:
    """Make the backend: the entry point `polymodel.backends`."""
    from polymodel_numpy.backend import NumpyBackend

    return NumpyBackend()
