"""The program as a Gluon HybridBlock, and its state in MXNet's own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from polymodel.errors import ArtifactError
from polymodel_mxnet.compat import MXNetError, mxnet
from polymodel_mxnet.dtypes import to_mxnet, to_numpy, write
from polymodel_mxnet.lower import Lowered


@final
class NativeBlock(mxnet.gluon.HybridBlock):  # type: ignore[misc]
    """A block that computes a program's outputs and shares its parameters and buffers.

    `collect_params()` is keyed by the names of the program's parameters and buffers; `data()` of each is the program's
    own array. Call it with the model's inputs, by position or by name, as MXNet arrays; it returns an mxnet.np array, or
    a tuple of them where the model has several outputs. Inside `mxnet.autograd.record()` it is differentiable.

    Args:
        arrays: the program's own arrays by name.
        gradients: where gradients go, for trained parameters.
        inputs: names of the model's inputs.
        run: from inputs by name to the outputs.
        lower: from input shapes by name to the symbol.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        gradients: Mapping[str, Any],
        inputs: tuple[str, ...],
        run: Callable[[Mapping[str, Any]], list[Any]],
        lower: Callable[[Mapping[str, tuple[int, ...]]], Lowered],
    ) -> None:
        super().__init__(prefix="")
        self._inputs, self._run, self.lower = inputs, run, lower
        for name, array in arrays.items():
            self._register(name, array, gradients.get(name))
        trained = [n for n in arrays if n in gradients]
        mxnet.autograd.mark_variables([arrays[n] for n in trained], [gradients[n] for n in trained])

    def _register(self, name: str, array: Any, gradient: Any) -> None:
        request = "null" if gradient is None else "write"
        parameter = mxnet.gluon.Parameter(name, grad_req=request, shape=array.shape, dtype=array.dtype)
        context = array.ctx
        places: list[list[Any]] = [[], []]
        places[context.device_typeid & 1] = [None] * context.device_id + [0]
        parameter._data, parameter._grad = [array], None if gradient is None else [gradient]
        parameter._ctx_list, parameter._ctx_map = [context], places
        self._reg_params[name] = parameter
        self.params._params[name] = parameter

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs in inference mode."""
        feeds = {**dict(zip(self._inputs, args, strict=False)), **kwargs}
        outputs = self._run({n: a.as_np_ndarray() for n, a in feeds.items()})
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def save(block: NativeBlock, path: str | Path) -> None:
    """Write parameters and buffers by name in MXNet's .params format."""
    arrays = {n: p.data().as_nd_ndarray() for n, p in block.collect_params().items()}
    mxnet.nd.save(str(path), arrays)


def load(block: NativeBlock, path: str | Path) -> None:
    """Read a file written by `save` into the block, and so into the program that shares its memory.

    Raises:
        ArtifactError: names or shapes are not those of the block, or the file is damaged.
    """
    if not Path(path).exists():
        raise FileNotFoundError(str(path))
    try:
        found = {n: to_numpy(a) for n, a in mxnet.nd.load(str(path)).items()}
    except (MXNetError, AttributeError) as error:
        raise ArtifactError(f"{path} is no parameter file of MXNet: {error}") from error
    own = {n: p.data() for n, p in block.collect_params().items()}
    if set(found) != set(own):
        raise ArtifactError(f"{path} does not fit this model: it holds {sorted(found)}, expected {sorted(own)}")
    for name, array in found.items():
        if array.shape != own[name].shape or array.dtype != own[name].dtype:
            raise ArtifactError(
                f"{path} does not fit this model: {name!r} is {array.dtype}{list(array.shape)}, expected "
                f"{np.dtype(own[name].dtype)}{list(own[name].shape)}"
            )
    for name, array in found.items():
        write(own[name], array)


def export(block: NativeBlock, prefix: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Path, Path]:
    """Write PREFIX-symbol.json and PREFIX-0000.params, as gluon.HybridBlock.export does.

    Args:
        block: from `program.native`.
        prefix: path without the endings.
        shapes: shape of every input; the symbol is made for them.

    Returns:
        The two paths, for `read_symbol` or gluon.SymbolBlock.imports.

    Raises:
        ArtifactError: a random operator of the model has a seed.
    """
    lowered = block.lower(shapes)
    if lowered.drawn:
        raise ArtifactError(
            "the model has random operators with a seed, whose numbers come from outside of MXNet: leave their seed out to export it"
        )
    symbol, parameters = Path(f"{prefix}-symbol.json"), Path(f"{prefix}-0000.params")
    auxiliary = set(lowered.symbol.list_auxiliary_states())
    arrays = {n: p.data() for n, p in block.collect_params().items()}
    arrays |= {n: to_mxnet(a, mxnet.cpu()) for n, a in lowered.constants.items()}
    named = {
        f"{'aux' if n in auxiliary else 'arg'}:{n}": arrays[n].as_nd_ndarray() for n in lowered.inputs if n in arrays
    }
    lowered.symbol.save(str(symbol))
    mxnet.nd.save(str(parameters), named)
    return symbol, parameters


def read_symbol(prefix: str | Path, inputs: tuple[str, ...]) -> Any:
    """A gluon.SymbolBlock of files written by `export`; it needs nothing of polymodel."""
    with mxnet.util.np_array(True):
        return mxnet.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", list(inputs), f"{prefix}-0000.params")
