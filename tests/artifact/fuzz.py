"""Load damaged models until the count is reached: a process of its own, so that a native crash is a test result.

    python fuzz.py SEED COUNT

Models are damaged as bytes (cut, flipped, moved) and as messages (extreme numbers, exchanged names, other operators).
Prints "done LOADED REFUSED SLOWEST"; anything but ArtifactError ends it with a traceback.
"""

from __future__ import annotations

import logging
import random
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


def main(seed: int, count: int) -> None:
    logging.disable(logging.CRITICAL)
    rng = random.Random(seed)
    sources = bases(rng)
    loaded = refused = 0
    slowest = 0.0
    for i in range(count):
        model = onnx.ModelProto()
        model.CopyFrom(rng.choice(sources))
        if i % 3:
            for _ in range(rng.choice((1, 1, 2))):
                rewrite(model, rng)
            source: Any = model
        else:
            source = bytes(rng.choice((cut, flip, flip, move))(bytearray(model.SerializeToString()), rng))
        start = time.perf_counter()
        try:
            load_onnx(source)
            loaded += 1
        except ArtifactError:
            refused += 1
        slowest = max(slowest, time.perf_counter() - start)
    print(f"done {loaded} {refused} {slowest:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
