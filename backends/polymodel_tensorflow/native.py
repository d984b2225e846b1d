"""The program as a tf.Module, and its state as a SavedModel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from polymodel.errors import ArtifactError, GraphError
from polymodel.passes.specialize import specialize
from polymodel.plan import Plan
from polymodel_tensorflow.compat import tf
from polymodel_tensorflow.dtypes import native_dtype
from polymodel_tensorflow.lower import lower, prepare

if TYPE_CHECKING:
    from polymodel_tensorflow.program import TensorFlowProgram


@final
class NativeModule(tf.Module):  # type: ignore[misc]
    """A module that computes a program's outputs and shares its parameters and buffers.

    Call it with the model's inputs, by position or by name, in the model's own order of axes (channels second); it
    returns a tensor, or a dict by output name where the model has several. It runs in graph mode, can be called inside
    another tf.function and differentiated.

    Attributes:
        state: parameters and buffers by name. Weights that only convolutions use are stored as (..., in, out); the
            program's `parameters` are in the standard's order.
    """

    def __init__(self, program: TensorFlowProgram) -> None:
        super().__init__(name="polymodel")
        graph = program.graph
        self.state = {**program.variables["parameters"], **program.variables["buffers"]}
        self._names = graph.inputs
        self._outputs = graph.outputs
        self._specs = tuple(graph.specs[n] for n in graph.inputs)

        def body(*tensors: Any) -> Any:
            plan = prepare(self._plan(program, tensors))
            feeds = program.feeds(plan, dict(zip(graph.inputs, tensors, strict=True)))
            values = lower(plan, feeds)
            outputs = {n: tf.identity(values.get(n)) for n in graph.outputs}
            return next(iter(outputs.values())) if len(outputs) == 1 else outputs

        self._function = tf.function(body, autograph=False, reduce_retracing=True)

    @tf.Module.with_name_scope
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs in inference mode."""
        feeds = {**dict(zip(self._names, args, strict=False)), **kwargs}
        missing = [n for n in self._names if n not in feeds]
        if missing or len(args) > len(self._names):
            raise GraphError(f"the model's inputs are {', '.join(self._names)}; received {', '.join(feeds) or 'nothing'}")
        return self._function(*(tf.convert_to_tensor(feeds[n]) for n in self._names))

    def serving(self) -> Any:
        """A concrete function from the model's inputs, sizes unknown where the model's are, to a dict of outputs."""
        specs = [
            tf.TensorSpec([d if isinstance(d, int) else None for d in s.shape], native_dtype(s.dtype), name=n)
            for n, s in zip(self._names, self._specs, strict=True)
        ]

        def serve(*tensors: Any) -> dict[str, Any]:
            result = self._function(*tensors)
            return result if isinstance(result, dict) else {self._outputs[0]: result}

        return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()

    @staticmethod
    def _plan(program: TensorFlowProgram, tensors: tuple[Any, ...]) -> Plan:
        """The model with the sizes that TensorFlow knows while it traces."""
        dims: dict[str, int] = {}
        for name, tensor in zip(program.graph.inputs, tensors, strict=True):
            for axis, size in enumerate(program.graph.specs[name].shape):
                if isinstance(size, str) and tensor.shape[axis] is not None:
                    dims[size] = int(tensor.shape[axis])
        return specialize(program.graph, program.graph.outputs, dims)


def save(module: NativeModule, path: str | Path) -> None:
    """Write a SavedModel whose signature "serving_default" takes and gives tensors by the model's names.

    Raises:
        NeedsStaticShape: the model cannot be traced with its unknown sizes left open.
    """
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serving()})


def load(module: NativeModule, path: str | Path) -> None:
    """Read parameters and buffers from a SavedModel written by `save` into the module, and so into its program.

    Raises:
        ArtifactError: it is no such SavedModel, or its names or shapes are not those of the module.
    """
    try:
        saved = dict(tf.saved_model.load(str(path)).state)
    except (OSError, AttributeError) as error:
        raise ArtifactError(f"{path} is no SavedModel of a polymodel program: {error}") from error
    ours = {n: tuple(v.shape) for n, v in module.state.items()}
    theirs = {n: tuple(v.shape) for n, v in saved.items()}
    if ours != theirs:
        odd = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
        raise ArtifactError(f"{path} does not fit this model: they differ in {', '.join(odd[:8])}")
    for name, variable in module.state.items():
        variable.assign(saved[name])
