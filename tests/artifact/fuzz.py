"""Load damaged models until the count is reached: a process of its own, so that a native crash is a test result.

    python fuzz.py SEED COUNT

Models are damaged as bytes (cut, flipped, moved; fields of the wire format with another type, length or place) and as
messages (extreme numbers, exchanged names, other operators). Prints "done LOADED REFUSED SLOWEST GROWN": seconds of the
slowest file, the best of three where one took long, and KiB by which the memory grew. Anything but ArtifactError ends it
with a traceback, and so does using more than MEMORY bytes of address space.
"""

from __future__ import annotations

import logging
import random
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import onnx
from onnx.backend.test.case.node import collect_testcases

from polymodel import models
from polymodel.artifact.export import to_proto
from polymodel.artifact.load import load_onnx
from polymodel.errors import ArtifactError

MEMORY = 6 << 30
LONG = 0.5  # seconds
EXTREME = (0, -1, 1, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63), 255)


def cut(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data))]


def flip(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 3, 10))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def move(data: bytearray, rng: random.Random) -> bytearray:
    a, b = rng.randrange(len(data)), rng.randrange(len(data))
    piece = data[a : a + rng.randrange(1, 64)]
    data[b:b] = piece
    return data


def varint(number: int) -> bytes:
    """A number as the wire format has it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(start, start of the content, end) of each field with a length, those inside included, as far as they can be read."""
    while start < end:
        tag, length = data[start], data[start + 1] if start + 1 < end else 0
        if tag & 7 == 0:
            start += 2
            while start < end and data[start - 1] > 127:
                start += 1
            continue
        content = start + 2
        if tag & 7 != 2:
            return
        shift, size = 7, length & 127
        while length > 127 and content < end:
            length = data[content]
            size, shift, content = size | (length & 127) << shift, shift + 7, content + 1
        if content + size > end:
            return
        yield start, content, content + size
        yield from fields(data, content, content + size)
        start = content + size


def wire(data: bytearray, rng: random.Random) -> bytearray:
    """A field of another type, with a wrong or endless length, twice, inside itself, or with another number."""
    found = list(fields(bytes(data), 0, len(data)))
    if not found:
        return flip(data, rng)
    start, content, end = rng.choice(found)
    kind = rng.randrange(5)
    if kind == 0:
        data[start] = data[start] & 0xF8 | rng.randrange(8)
    elif kind == 1:
        data[start + 1 : content] = varint(rng.choice((0, 1, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1, end - content + 1)))
    elif kind == 2:
        data[end:end] = data[start:end] * rng.choice((1, 2, 50))
    elif kind == 3:
        data[content:content] = data[start:end]
    else:
        data[start] = (rng.randrange(1, 16) << 3) | 2
    return data


def numbers(model: onnx.ModelProto) -> Iterator[tuple[Any, str]]:
    """Places of integers in a message: (holder, field)."""
    for node in model.graph.node:
        for attribute in node.attribute:
            yield attribute, "ints" if attribute.ints else "i"
    for tensor in model.graph.initializer:
        yield tensor, "dims"
        yield tensor, "data_type"
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            yield dim, "dim_value"
        yield value.type.tensor_type, "elem_type"
    yield model, "ir_version"
    for opset in model.opset_import:
        yield opset, "version"


def rewrite(model: onnx.ModelProto, rng: random.Random) -> None:
    kind = rng.randrange(4)
    nodes = list(model.graph.node)
    if kind == 0 or not nodes:
        holder, field = rng.choice(list(numbers(model)))
        current = getattr(holder, field)
        number = rng.choice(EXTREME)
        if isinstance(current, int):
            limit = 2**31 - 1 if field in ("data_type", "elem_type") else 2**63 - 1
            setattr(holder, field, max(min(number, limit), -limit))
        elif len(current):
            current[rng.randrange(len(current))] = number
        else:
            current.append(number)
    elif kind == 1:
        node = rng.choice(nodes)
        names = [n for m in nodes for n in (*m.input, *m.output)] + [""]
        side = node.input if rng.random() < 0.7 else node.output
        if side:
            side[rng.randrange(len(side))] = rng.choice(names)
        else:
            side.append(rng.choice(names))
    elif kind == 2:
        rng.choice(nodes).op_type = rng.choice(OPERATORS)
    else:
        node = rng.choice(nodes)
        for tensor in [t for t in model.graph.initializer if t.name in node.input and t.data_type == 7]:
            count = len(tensor.raw_data) // 8
            tensor.raw_data = b"".join(rng.choice(EXTREME).to_bytes(8, "little", signed=True) for _ in range(count))


OPERATORS = sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""})


def bases(rng: random.Random) -> list[onnx.ModelProto]:
    cases = [c.model for c in collect_testcases(None) if c.model is not None]
    found = rng.sample(cases, 150)
    for name in ("lenet", "lstm", "transformer"):
        model = to_proto(models.reference(name).model.graph)
        old = onnx.ModelProto()
        old.CopyFrom(model)
        old.opset_import[0].version = rng.choice((9, 13, 17, 21))
        found += [model, old] * 10
    return found


def attempt(source: Any) -> tuple[bool, float]:
    """Whether a model loads, and how long that takes."""
    start = time.perf_counter()
    try:
        load_onnx(source)
    except ArtifactError:
        return False, time.perf_counter() - start
    return True, time.perf_counter() - start


def main(seed: int, count: int) -> None:
    logging.disable(logging.CRITICAL)
    rng = random.Random(seed)
    sources = bases(rng)
    harmless = next(m for m in sources if attempt(m)[0])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loaded = refused = 0
    slowest = 0.0
    for i in range(count):
        model = onnx.ModelProto()
        model.CopyFrom(rng.choice(sources))
        if i % 2:
            for _ in range(rng.choice((1, 1, 2))):
                rewrite(model, rng)
            source: Any = model
        else:
            source = bytes(rng.choice((cut, flip, flip, move, wire, wire, wire))(bytearray(model.SerializeToString()), rng))
        sound, seconds = attempt(source)
        for _ in range(2):
            if seconds > LONG:
                attempt(harmless)  # a process of native_checks.py that ended has been replaced
                seconds = min(seconds, attempt(source)[1])
        loaded, refused = loaded + sound, refused + (not sound)
        slowest = max(slowest, seconds)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"done {loaded} {refused} {slowest:.3f} {grown}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
