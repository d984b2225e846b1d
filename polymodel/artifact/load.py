"""ONNX file -> Graph.

1. Bytes become a protobuf message; structure.py refuses what is no graph.
2. Stored values, those inside of branches and loops included (hoist.py), are taken out of the message and checked
   (tensors.py); large ones are replaced by typed inputs, so that no native code meets weights, and files of any size can
   be read.
3. Functions are written out, the standard's checker runs over the whole, opsets older than OPSET are lifted, and types
   and shapes are inferred anew: all of it in a process of its own (native_checks.py). What the file says about inner
   values is not believed.
4. Stored tensors get roles: from our own metadata when it holds true, else by roles.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import ModelProto

from polymodel.artifact import native_checks
from polymodel.artifact.filled import filled_tensors, store
from polymodel.artifact.hoist import hoist
from polymodel.artifact.lifted import tidy
from polymodel.artifact.metadata import stated_roles
from polymodel.artifact.roles import Roles, find_roles
from polymodel.artifact.structure import check_structure, import_standard, opset_versions
from polymodel.artifact.tensors import to_array
from polymodel.errors import ArtifactError, DtypeError, NeedsHost, NeedsStaticShape, ShapeError
from polymodel.graph import Graph
from polymodel.inference import OPSET
from polymodel.passes.specialize import specialize
from polymodel.spec import ir_shape, onnx_dtype
from polymodel.user_modules import import_rules

IR_VERSION = 10
_SMALL = 1024  # elements; axes, sizes and counts have fewer, and inference looks at them
_NO_NAME = re.compile(r"[\W_]*|-1|None|none|unknown")
_LIMIT = 1 << 31  # bytes of a protobuf message


def load_onnx(source: str | os.PathLike[str] | bytes | ModelProto, *, trainable: str | Sequence[str] = "auto") -> Graph:
    """Read an ONNX model.

    Args:
        source: path, the bytes of a file, or a message. External data is read for a path only, from its folder only.
        trainable: which stored tensors become parameters: "auto" (see roles.py), "all", "none", or names with the
            wildcards of fnmatch. A file that polymodel exported says so itself; only "auto" asks it.

    Returns:
        A graph at opset 23, or at the file's own when that is newer. Names are those of the file.

    Raises:
        ArtifactError: the file cannot be read, is no sound model, or uses what the standard lacks.

    Example:
        >>> import polymodel as pm
        >>> from polymodel import nn
        >>> model = pm.Model(nn.Linear(3, 2), {"x": pm.TensorSpec(("batch", 3))}, ["y"])
        >>> pm.load_onnx(model.graph.copy().proto(), trainable="none").inputs
        ('x', 'weight', 'bias')
    """
    import_rules()
    native_checks.start()
    model, folder = read_message(source)
    try:
        import_standard(model)
        check_structure(model)
        arrays = _take_values(model, folder)
        model = _standard(model, arrays)
        return _graph(model, arrays, trainable)
    except (ArtifactError, ShapeError, DtypeError):  # the latter of rules for operators outside the standard
        raise
    except RecursionError:
        raise ArtifactError("the file nests its parts too deeply") from None
    except MemoryError:
        raise ArtifactError("the file asks for more memory than there is") from None
    except native_checks.Refused as error:
        raise ArtifactError(f"the file is no sound ONNX model: {_first_line(error)}") from None
    except Exception as error:  # what parsers of the onnx packages raise: ValueError, KeyError, RuntimeError, ...
        raise ArtifactError(f"the file is no sound ONNX model: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (" ".join(lines[:2]) or type(error).__name__)[:500]


def read_message(source: str | os.PathLike[str] | bytes | ModelProto) -> tuple[ModelProto, Path | None]:
    """The protobuf message of a file, of bytes, or a copy of a message; and the folder that external data lies in.

    Raises:
        ArtifactError: it cannot be read or is no ONNX file.
    """
    if isinstance(source, ModelProto):
        copy = ModelProto()
        copy.CopyFrom(source)
        return copy, None
    if isinstance(source, bytes | bytearray | memoryview):
        return _parse(bytes(source), "the bytes"), None
    path = Path(source)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ArtifactError(f"{path} is no file: expected an .onnx file")
        if size >= _LIMIT:
            raise ArtifactError(f"{path} has {size} bytes; an ONNX file is smaller than 2 GiB, its data beside it")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return _parse(data, str(path)), path.absolute().parent


def _parse(data: bytes, what: str) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(data)
        return model
    except Exception as error:  # exceptions of the protobuf runtime, which differ between its implementations
        raise ArtifactError(f"{what} is not an ONNX file, or a truncated one: {_first_line(error)}") from None


def _take_values(model: ModelProto, folder: Path | None) -> dict[str, np.ndarray]:
    """Stored values by name, taken out of the message; small ones stay in it as well."""
    graph = model.graph
    if graph.sparse_initializer:
        names = ", ".join(s.values.name for s in graph.sparse_initializer)
        raise ArtifactError(f"sparse initializers are not supported: write {names} as dense tensors")
    hoist(graph)
    arrays = {t.name: to_array(t, folder, f"initializer {t.name!r}") for t in graph.initializer}
    kept = [n for n in graph.node if not _is_constant(n)]
    for node in graph.node:
        if _is_constant(node):
            arrays[node.output[0]] = _constant(node, folder)
    if len(kept) != len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)
    fed = [v for v in graph.input if v.name not in arrays]
    for name, array in arrays.items():
        if array.dtype.kind == "O" and array.size and not all(isinstance(s, str | bytes) for s in array.flat):
            raise ArtifactError(f"initializer {name!r} holds objects, expected strings")
    del graph.input[:], graph.initializer[:], graph.value_info[:]
    graph.input.extend(fed)
    for name, array in arrays.items():
        if array.size <= _SMALL:
            graph.initializer.append(_tensor(name, array))
        else:
            dtype = ir.DataType.from_numpy(array.dtype).value
            graph.input.append(onnx.helper.make_tensor_value_info(name, dtype, array.shape))
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
            if dim.HasField("dim_value") and dim.dim_value < 0:  # what some writers mean by "unknown"
                dim.Clear()
    return arrays


def _tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    if array.dtype.kind == "O":
        return onnx.helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, array.ravel().tolist())
    return ir.to_proto(ir.tensor(array, name=name))


_CONSTANTS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


def _is_constant(node: onnx.NodeProto) -> bool:
    known = len(node.attribute) == 1 and node.attribute[0].name in {"value", *_CONSTANTS}
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx") and known and len(node.output) == 1


def _constant(node: onnx.NodeProto, folder: Path | None) -> np.ndarray:
    attribute = node.attribute[0]
    if attribute.name == "value":
        return to_array(attribute.t, folder, f"constant {node.output[0]!r}")
    return np.asarray(onnx.helper.get_attribute_value(attribute), _CONSTANTS[attribute.name])


def _standard(model: ModelProto, arrays: dict[str, np.ndarray]) -> ModelProto:
    """The same model without functions, checked, at OPSET or newer, with inferred types."""
    model.ir_version = max(model.ir_version, IR_VERSION)
    properties = {p.key: p.value for p in model.metadata_props}
    for node in model.graph.node:
        if node.op_type == "MeanVarianceNormalization" and not node.attribute:  # else its inference fails: onnx 1.23
            node.attribute.append(onnx.helper.make_attribute("axes", [0, 2, 3]))
    changes = bool(model.functions) or opset_versions(model)[""] < OPSET
    model = ModelProto.FromString(_checked(model))
    if changes:
        check_structure(model)
        arrays.update(_late_constants(model))
        model.ir_version = max(model.ir_version, IR_VERSION)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, properties)
    return model


def _checked(model: ModelProto) -> bytes:
    """What native_checks.py makes of a model; shapes that the file declares for its outputs are believed only if they fit."""
    try:
        return native_checks.ask(model.SerializeToString(), OPSET)
    except native_checks.Refused as refused:
        bare = ModelProto()
        bare.CopyFrom(model)
        del bare.graph.value_info[:]
        for output in bare.graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
        if "hape" not in str(refused) or bare == model:
            raise
        try:
            return native_checks.ask(bare.SerializeToString(), OPSET)
        except native_checks.Refused:
            raise refused from None


def _late_constants(model: ModelProto) -> dict[str, np.ndarray]:
    """Constants that conversion brought in, out of the message."""
    hoist(model.graph)
    late = {n.output[0]: _constant(n, None) for n in model.graph.node if _is_constant(n)}
    nodes = [n for n in model.graph.node if not _is_constant(n)]
    stored = {t.name: to_array(t, None, f"initializer {t.name!r}") for t in model.graph.initializer}
    if late:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(_tensor(n, a) for n, a in late.items())
    return {**stored, **late}


def _graph(model: ModelProto, arrays: dict[str, np.ndarray], trainable: str | Sequence[str]) -> Graph:
    lifted = _parsed(model)
    stated = stated_roles(lifted.metadata_props) if trainable == "auto" else None
    if stated is not None:
        roles, expected = stated
        floats = {n for n, a in arrays.items() if a.dtype.kind == "f" or a.dtype.name == "bfloat16"}
        if floats.issuperset((*roles.parameters, *roles.buffers)):
            graph = _assemble(lifted, arrays, roles)
            if graph.hash == expected:
                return _typed(graph)
            lifted = _parsed(model)
    filled = {} if trainable == "none" else filled_tensors(lifted.graph, arrays)
    if trainable == "all":  # what is a weight; not every zero that a recurrence starts from
        weights = find_roles(lifted.graph, {**arrays, **filled}, "auto")
        filled = {n: a for n, a in filled.items() if n in weights.parameters or n in weights.buffers}
    roles = find_roles(lifted.graph, {**arrays, **filled}, trainable)
    _name_sizes(lifted.graph, arrays)
    chosen = {n: np.array(a) for n, a in filled.items() if n in roles.parameters or n in roles.buffers}
    if chosen:
        store(lifted.graph, chosen)
        used = {str(v.name) for v in (*lifted.graph.inputs, *lifted.graph.initializers.values())}
        arrays = {n: a for n, a in arrays.items() if n in used}
    return _typed(_assemble(lifted, {**arrays, **chosen}, roles))


def _typed(graph: Graph) -> Graph:
    """Types of the values behind operators that the onnx package does not know, by their registered rules."""
    untyped = [v for node in graph.model.graph for v in node.outputs if v.name and v.type is None]
    if not untyped:
        return graph
    try:
        specs = specialize(graph, graph.outputs).specs
    except (NeedsHost, NeedsStaticShape):
        return graph
    for value in untyped:
        if (spec := specs.get(str(value.name))) is not None:
            value.shape, value.type = ir_shape(spec), ir.TensorType(onnx_dtype(spec.dtype))
    return replace(graph)


def _parsed(model: ModelProto) -> ir.Model:
    parsed = ir.from_proto(model)
    tidy(parsed)
    return parsed


def _assemble(model: ir.Model, arrays: dict[str, np.ndarray], roles: Roles) -> Graph:
    body = model.graph
    declared = {str(v.name): v for v in (*body.inputs, *body.initializers.values())}
    inputs = tuple(str(v.name) for v in body.inputs if v.name not in arrays)
    constants = [n for n in arrays if n not in roles.parameters and n not in roles.buffers and n in declared]
    body.initializers.clear()
    del body.inputs[:]
    body.inputs.extend(declared[n] for n in inputs)
    for name in (*roles.parameters, *roles.buffers):
        value = declared[name]
        value.const_value = None
        value.shape, value.type = ir.Shape(arrays[name].shape), _type(arrays[name])
        body.inputs.append(value)
    for name in constants:
        value, array = declared[name], arrays[name]
        value.shape, value.type = ir.Shape(array.shape), _type(array)
        value.const_value = ir.tensor(array, name=name) if array.dtype.kind != "O" else value.const_value
        body.register_initializer(value)
    return Graph(
        model=model,
        inputs=inputs,
        outputs=tuple(str(v.name) for v in body.outputs),
        parameters={n: arrays[n] for n in roles.parameters},
        buffers={n: arrays[n] for n in roles.buffers},
        frozen=roles.frozen,
        reasons=roles.reasons,
    )


def _name_sizes(body: ir.Graph, arrays: Mapping[str, np.ndarray]) -> None:
    """Unknown sizes of inputs get names, "INPUT_AXIS", so that a program can be compiled for the sizes that come.

    What exporters write for "unknown" ("?", "*", "-1", "None") is no name: two such sizes may differ.
    """
    taken = {d.value for v in body.inputs if v.shape is not None for d in v.shape if isinstance(d, ir.SymbolicDim)}
    for value in body.inputs:
        if value.name in arrays or value.shape is None:
            continue
        sizes: list[int | ir.SymbolicDim | str] = list(value.shape)
        for axis, dim in enumerate(sizes):
            if isinstance(dim, ir.SymbolicDim) and (dim.value is None or _NO_NAME.fullmatch(dim.value)):
                name = f"{value.name}_{axis}"
                while name in taken:
                    name += "_"
                sizes[axis] = name
        value.shape = ir.Shape(sizes)


def _type(array: np.ndarray) -> ir.TensorType:
    return ir.TensorType(ir.DataType.STRING if array.dtype.kind == "O" else ir.DataType.from_numpy(array.dtype))


