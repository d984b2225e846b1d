"""A graph as traced TensorFlow functions over variables that hold its parameters, buffers and optimizer slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat, final

import numpy as np

from polymodel.backend import Arrays, Backend, CompileOptions, Gradients, Predict, Program, Step, Training, Update, is_float
from polymodel.errors import GraphError, ShapeError
from polymodel.graph import Graph
from polymodel.optim.gather import SUM
from polymodel.plan import Plan
from polymodel.spec import TensorSpec, bind_dims, numpy_dtype
from polymodel.training.precision import FINITE, SCALE
from polymodel_tensorflow import optimizers, replicas
from polymodel_tensorflow.compat import tf, use_tf32
from polymodel_tensorflow.dtypes import native_dtype
from polymodel_tensorflow.layout import Layout, from_layout, inverse, stored_layouts, to_layout
from polymodel_tensorflow.lower import compiler, lower, prepare
from polymodel_tensorflow.rules.table import INSIDE_XLA


@final
class TensorFlowProgram(Program):
    """See polymodel.backend.Program.

    Each compiled function is one concrete tf.function: traced when it is compiled, called with tensors by position.
    """

    def __init__(
        self, backend: Backend, graph: Graph, device: str, training: Training | None, options: CompileOptions
    ) -> None:
        super().__init__(backend, graph, device, training, options)
        self._place = native_device(device)
        self._layouts = stored_layouts(graph)
        with tf.device(self._place):
            self.variables: dict[str, dict[str, Any]] = {
                "parameters": {n: self._variable(n, a) for n, a in self.held(graph.parameters).items()},
                "buffers": {n: self._variable(n, a) for n, a in self.held(graph.buffers).items()},
                "slots": self._slots(),
            }
        self._native: Any = None
        self.between: dict[Any, Callable[..., Any]] = {}

    @property
    def native(self) -> Any:
        """A tf.Module: see native.py."""
        if self._native is None:
            from polymodel_tensorflow.native import NativeModule

            self._native = NativeModule(self)
        return self._native

    def synchronize(self) -> None:
        """Wait for CUDA devices; functions on the CPU return when they are done."""
        if self.device != "cpu":
            tf.test.experimental.sync_devices()

    # -- state ------------------------------------------------------------------------------------------------------

    def layout_of(self, name: str) -> Layout:
        """Order of axes in which a parameter, a buffer or a slot is stored."""
        return self._layouts.get(name, self._layouts.get(name.partition("/")[2]))

    def _variable(self, name: str, array: np.ndarray) -> Any:
        held = to_layout(np.asarray(array), self.layout_of(name))
        native_dtype(held.dtype.name)
        return tf.Variable(held, trainable=name in self.graph.trainable, name=_scope_name(name))

    def _read(self, role: str) -> Arrays:
        return {n: from_layout(np.asarray(v.numpy()), self.layout_of(n)) for n, v in self.variables[role].items()}

    def _write(self, role: str, values: Mapping[str, np.ndarray]) -> None:
        for name, array in values.items():
            self.variables[role][name].assign(to_layout(array, self.layout_of(name)), read_value=False)

    def _slots(self) -> dict[str, Any]:
        return {n: self._variable(n, a) for n, a in self.held_slots().items()}

    def share(self, others: Sequence[TensorFlowProgram], *, buffers: bool = True) -> None:
        """See Stored.share."""
        for other in others:
            other._layouts = self._layouts
            own = self.variables if buffers else {**self.variables, "buffers": other.variables["buffers"]}
            with tf.device(self._place):
                other.variables = {**own, "slots": other._slots()}

    def hand(self, others: Sequence[TensorFlowProgram]) -> None:
        """See Stored.hand."""
        replicas.hand(self, others)

    def collect(self, others: Sequence[TensorFlowProgram]) -> None:
        """See Stored.collect."""
        replicas.collect(self, others)

    def average(self, others: Sequence[TensorFlowProgram], shares: Sequence[float]) -> None:
        """See Stored.average."""
        replicas.average(self, others, shares)

    def sums(self) -> dict[str, Any]:
        """The variables of gathered gradients, by parameter."""
        assert self.training is not None
        return {n: self.variables["slots"][f"{SUM}/{n}"] for n in self.training.graph.trainable}

    # -- compiled functions -----------------------------------------------------------------------------------------

    def _compile_predict(self, plan: Plan) -> Predict:
        plan = prepare(plan, derivatives=False)
        fed = self._fed(plan)

        def body(*tensors: Any) -> list[Any]:
            values = lower(plan, self._feeds(plan, fed, tensors))
            return [tf.identity(values.get(n)) for n in plan.outputs]

        function = self.trace(body, [plan.inputs[n] for n in fed], self._jit(plan, training=False))

        def run(feeds: Mapping[str, np.ndarray]) -> Arrays:
            results = function(*(self.tensor(feeds[n]) for n in fed))
            return {n: np.asarray(r.numpy()) for n, r in zip(plan.outputs, results, strict=True)}

        return run

    def _compile_gradients(self, plan: Plan, wrt: Sequence[str]) -> Gradients:
        given = [n for n in plan.outputs if is_float(plan.specs[n].dtype)]
        plan = prepare(plan, given)
        fed = self._fed(plan)
        targets = [n for n in wrt if n in plan.inputs]
        found: list[str] = []

        def body(*tensors: Any) -> list[Any]:
            feeds = self._feeds(plan, fed, tensors)
            values = lower(plan, feeds)
            derivatives = tf.gradients(
                [values.get(n) for n in given], [feeds[n][0] for n in targets], list(tensors[len(fed) :])
            )
            pairs = [(n, d) for n, d in zip(targets, derivatives, strict=True) if d is not None]
            found[:] = [n for n, _ in pairs]
            return [_in_onnx_order(tf.convert_to_tensor(d), feeds[n][1]) for n, d in pairs]

        specs = [*(plan.inputs[n] for n in fed), *(plan.specs[n] for n in given)]
        function = self.trace(body, specs, self._jit(plan, training=False)) if given and targets else None

        def run(feeds: Mapping[str, np.ndarray], cotangents: Mapping[str, np.ndarray]) -> Arrays:
            if function is None:
                return {}
            sizes = bind_dims({n: plan.inputs[n] for n in fed}, {n: feeds[n].shape for n in fed})
            for name in given:
                _check_cotangent(name, plan.specs[name].bind(sizes), cotangents[name])
            arrays = (*(feeds[n] for n in fed), *(cotangents[n] for n in given))
            results = function(*(self.tensor(a) for a in arrays))
            return {n: np.asarray(r.numpy()) for n, r in zip(found, results, strict=True)}

        return run

    def _compile_step(self, plan: Plan, training: Training) -> Step:
        plan = prepare(plan)
        fed = self._fed(plan)
        jit = self._jit(plan, training=True)
        names = training.graph.trainable
        dtype = _common_dtype(training.graph, names)
        scaled = training.scaling is not None
        scalar_names = [*training.optimizer.scalars(training.optimizer.lr, 1), *([SCALE] if scaled else [])]
        returns, loss_name = training.returns, training.loss
        names_out = (*returns, *([FINITE] if scaled else []))

        def body(scalars: Any, *tensors: Any) -> list[Any]:
            feeds = self._feeds(plan, fed, tensors)
            values = lower(plan, feeds)
            loss = values.get(loss_name)
            used = [n for n in names if n in feeds]
            gradients = {n: tf.zeros_like(self.variables["parameters"][n]) for n in names}
            by_name = dict(zip(scalar_names, tf.unstack(scalars), strict=True))
            seed = [tf.cast(by_name[SCALE], loss.dtype)] if scaled else None
            pairs = zip(used, tf.gradients(loss, [feeds[n][0] for n in used], seed), strict=True)
            gradients.update((n, tf.convert_to_tensor(g)) for n, g in pairs if g is not None)
            finite = tf.math.is_finite(loss)
            if scaled:
                for gradient in gradients.values():
                    finite &= tf.reduce_all(tf.math.is_finite(gradient))
                gradients = {n: g * (1 / by_name[SCALE]) for n, g in gradients.items()}
            gradients = optimizers.clipped(training.clip, gradients, dtype)
            updates = [(self.variables["buffers"][b], values.get(n)) for b, n in training.graph.updates.items()]
            self._update(training, gradients, updates, by_name, dtype, finite, jit)
            return [*(tf.identity(values.get(n)) for n in returns), *([tf.cast(finite, tf.float32)] if scaled else [])]

        specs = [TensorSpec((len(scalar_names),), dtype), *(plan.inputs[n] for n in fed)]
        function = self.trace(body, specs, jit)
        last: list[Any] = [None, None]

        def run(feeds: Mapping[str, np.ndarray], scalars: Mapping[str, float]) -> Mapping[str, SupportsFloat]:
            if scalars != last[0]:
                last[:] = [scalars, tf.constant(list(scalars.values()), dtype)]
            return dict(zip(names_out, function(last[1], *[self.tensor(feeds[n]) for n in fed]), strict=True))

        return run

    def _update(
        self,
        training: Training,
        gradients: Mapping[str, Any],
        buffers: Sequence[tuple[Any, Any]],
        scalars: Mapping[str, Any],
        dtype: str,
        finite: Any,
        jit: bool,
    ) -> None:
        """Write parameters, slots and buffers, unless the loss is not finite."""
        parameters, layouts = self.variables["parameters"], self._layouts
        slots = self._slots_of(training)
        if jit:
            optimizers.formula_update(training.optimizer, parameters, gradients, slots, scalars, dtype, layouts, finite)
            for variable, value in buffers:
                variable.assign(tf.where(finite, value, variable.read_value()), read_value=False)
            return

        def write() -> Any:
            optimizers.fused_update(training.optimizer, parameters, gradients, slots, scalars, dtype, layouts)
            for variable, value in buffers:
                variable.assign(value, read_value=False)
            return tf.constant(True)

        tf.cond(finite, write, lambda: tf.constant(False))

    def _slots_of(self, training: Training) -> dict[str, Any]:
        return {n: v for n, v in self.variables["slots"].items() if n.partition("/")[0] in training.optimizer.slots}

    def _compile_update(self, training: Training) -> Update:
        rule, parameters, slots = training.optimizer, self.variables["parameters"], self._slots_of(training)
        dtype = _common_dtype(training.graph, training.graph.trainable)
        names = list(rule.scalars(rule.lr, 1))

        def body(scalars: Any) -> list[Any]:
            sums = self.sums()
            gradients = optimizers.clipped(training.clip, {n: v.read_value() for n, v in sums.items()}, dtype)
            by_name = dict(zip(names, tf.unstack(scalars), strict=True))
            optimizers.fused_update(rule, parameters, gradients, slots, by_name, dtype, self._layouts)
            for variable in sums.values():
                variable.assign(tf.zeros(variable.shape, variable.dtype), read_value=False)
            return [tf.constant(True)]

        function = self.trace(body, [TensorSpec((len(names),), dtype)], jit=False)

        def update(scalars: Mapping[str, float]) -> None:
            function(tf.constant(list(scalars.values()), dtype))

        return update

    def tensor(self, array: np.ndarray) -> Any:
        """An array on the program's device."""
        if self.device == "cpu":
            return tf.convert_to_tensor(array)
        with tf.device(self._place):
            return tf.convert_to_tensor(array)

    # -- tracing ----------------------------------------------------------------------------------------------------

    def trace(self, body: Callable[..., list[Any]], specs: Sequence[TensorSpec], jit: bool) -> Callable[..., list[Any]]:
        """Trace a function of tensors at once and return what calls it."""
        signature = [_signature(s) for s in specs]

        def placed(*tensors: Any) -> list[Any]:
            token = INSIDE_XLA.set(jit)
            try:
                with tf.device(self._place):
                    return body(*tensors)
            finally:
                INSIDE_XLA.reset(token)

        function = tf.function(placed, input_signature=signature, autograph=False, jit_compile=jit)
        if self.device == "cpu":
            return _called_directly(function.get_concrete_function())
        use_tf32(self.options.tf32)
        call = _called_directly(function.get_concrete_function())

        def run(*tensors: Any) -> list[Any]:
            use_tf32(self.options.tf32)
            with tf.device(self._place):  # XLA runs on the device of the call, wherever variables are
                return call(*tensors)

        return run

    def feeds(self, plan: Plan, tensors: Mapping[str, Any]) -> dict[str, tuple[Any, Layout]]:
        """What `lower` takes: given tensors, and the program's variables for the rest."""
        found: dict[str, tuple[Any, Layout]] = {}
        for name in plan.inputs:
            if name in tensors:
                found[name] = (tensors[name], None)
            else:
                role = "parameters" if name in self.variables["parameters"] else "buffers"
                if name not in self.variables[role]:
                    raise GraphError(f"value {name!r} is neither fed nor a parameter or buffer of the program")
                found[name] = (self.variables[role][name].read_value(), self.layout_of(name))
        return found

    def _feeds(self, plan: Plan, fed: Sequence[str], tensors: Sequence[Any]) -> dict[str, tuple[Any, Layout]]:
        return self.feeds(plan, dict(zip(fed, tensors[: len(fed)], strict=True)))

    def _fed(self, plan: Plan) -> list[str]:
        return [n for n in plan.inputs if n not in self.graph.parameters and n not in self.graph.buffers]

    def _jit(self, plan: Plan, *, training: bool) -> bool:
        choice = self.options.compile
        return (compiler(plan.nodes, training=training) if choice == "auto" else choice) == "xla"


def _called_directly(concrete: Any) -> Callable[..., list[Any]]:
    """What calls a concrete function with tensors that are known to fit.

    Its public call matches arguments with the signature in Python every time, which takes about as long as running a
    small step; the same function below that layer is used where this TensorFlow has it.
    """
    flat = getattr(concrete, "_call_flat", None)
    if flat is None:
        public: Callable[..., list[Any]] = concrete
        return public
    captured = concrete.captured_inputs
    return lambda *tensors: flat(list(tensors), captured)


def native_device(device: str) -> str:
    """TensorFlow's name of "cpu" or "cuda:N"."""
    kind, _, index = device.partition(":")
    return f"/{'CPU' if kind == 'cpu' else 'GPU'}:{index or 0}"


def _scope_name(name: str) -> str:
    """TensorFlow's variable names allow no blanks and must not begin with a slash."""
    return "".join(c if c.isalnum() or c in "._/-" else "_" for c in name).lstrip("./-") or "value"


def _signature(spec: TensorSpec) -> Any:
    return tf.TensorSpec([d if isinstance(d, int) else None for d in spec.shape], native_dtype(spec.dtype))


def _in_onnx_order(value: Any, layout: Layout) -> Any:
    back = inverse(layout)
    return value if back is None else tf.transpose(value, back)


def _check_cotangent(name: str, spec: TensorSpec, array: np.ndarray) -> None:
    """Refuse a cotangent that does not have its output's sizes: TensorFlow would broadcast some of them."""
    fits = len(array.shape) == spec.rank and all(
        want == got or not isinstance(want, int) for want, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits or array.dtype != numpy_dtype(spec.dtype):
        raise ShapeError(
            f"the cotangent of {name!r} is {array.dtype} {array.shape}, the output is {spec.dtype} {spec.shape}"
        )


def _common_dtype(graph: Graph, names: Sequence[str]) -> str:
    dtypes = {graph.parameters[n].dtype.name for n in names}
    if len(dtypes) > 1:
        raise GraphError(f"trained parameters have several element types ({', '.join(sorted(dtypes))}): cast them to one")
    return dtypes.pop() if dtypes else "float32"
