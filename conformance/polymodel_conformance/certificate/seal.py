"""The hash of a model file without its certificate, and the certificate in it.

A certificate is one more metadata entry at the end of the file, after all bytes that were there; protobuf reads entries of a
repeated field wherever they stand. So the file without it has the very bytes that were certified, and its hash is that which
sha256sum prints for them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, TensorProto

from polymodel.artifact.metadata import PREFIX
from polymodel.artifact.structure import subgraphs
from polymodel.artifact.tensors import external_path
from polymodel.errors import ArtifactError

KEY = PREFIX + "certificate"
_METADATA = ModelProto.METADATA_PROPS_FIELD_NUMBER
_FIXED = {1: 8, 5: 4}  # bytes of the wire types of fixed size


def unsealed(data: bytes) -> tuple[bytes, list[str]]:
    """A file without its certificate, and the certificates that were in it.

    Raises:
        ArtifactError: it is no protobuf message.
    """
    kept, found, position = [], [], 0
    for start, end, body in _fields(data):
        if body is None or (text := _certificate(data[body:end])) is None:
            continue
        kept.append(data[position:start])
        found.append(text)
        position = end
    return b"".join((*kept, data[position:])), found


def sealed(data: bytes, certificate: str) -> bytes:
    """A file with one certificate, in the place of any that it had."""
    entry = ModelProto()
    onnx.helper.set_model_props(entry, {KEY: certificate})
    added: bytes = entry.SerializeToString()
    return unsealed(data)[0] + added


def write_sealed(path: Path, certificate: str) -> None:
    """Put a certificate into a file; the file is there, with or without it, at every moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            stream.write(sealed(path.read_bytes(), certificate))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from None


def external_hashes(data: bytes, folder: Path) -> dict[str, str]:
    """SHA-256 of every file beside the model that its tensors lie in, by the place that the model states.

    Raises:
        ArtifactError: one is missing or lies outside of the model's folder.
    """
    model = ModelProto.FromString(data)
    places = {
        entry.value: tensor.name
        for tensor in _tensors(model) if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data if entry.key == "location"
    }  # fmt: skip
    return {p: file_hash(external_path(folder, p, f"initializer {n!r}")) for p, n in sorted(places.items())}


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _tensors_of(model.graph)
    for function in model.functions:
        yield from _tensors_of(GraphProto(node=function.node))


def _tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
        for inner in subgraphs(node):
            yield from _tensors_of(inner)


def _certificate(body: bytes) -> str | None:
    entry = onnx.StringStringEntryProto.FromString(body)
    return entry.value if entry.key == KEY else None


def _fields(data: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Start and end of each field of a message, and where its content starts if it is a metadata entry."""
    position = 0
    while position < len(data):
        start = position
        tag, position = _number(data, position)
        kind, body = tag & 7, None
        if kind == 0:
            _, position = _number(data, position)
        elif kind == 2:
            length, position = _number(data, position)
            body = position if tag >> 3 == _METADATA else None
            position += length
        elif kind in _FIXED:
            position += _FIXED[kind]
        else:
            raise ArtifactError("not an ONNX file: its bytes are no protobuf message")
        if position > len(data):
            raise ArtifactError("not an ONNX file, or a truncated one")
        yield start, position, body


def _number(data: bytes, position: int) -> tuple[int, int]:
    """A varint and the position behind it."""
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise ArtifactError("not an ONNX file, or a truncated one")
