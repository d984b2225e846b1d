"""Known faults, planted on purpose: a suite that lets one through cannot be trusted.

A mutant changes what a worker is asked (the graph, the update rule) or what it answered, while the oracle keeps the truth.
Each runs on a case of the suite that a correct backend passes; it is caught when the verdict is no pass. The control is
that the unchanged case passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import onnx_ir as ir

from polymodel import losses, models
from polymodel.graph import Graph
from polymodel.optim import SGD, Optimizer
from polymodel_conformance.cases import Call, Case, Outcome
from polymodel_conformance.client import HERE, Answer, Place
from polymodel_conformance.jobs import Job
from polymodel_conformance.mutants.rules import AdamInsideRoot
from polymodel_conformance.verdict import Verdict

Ask = Callable[[Job], Job]
Reply = Callable[[Job, Answer], Answer]
Edit = Callable[[Graph], Graph]


@final
@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        name: what is wrong.
        cases: ids of the cases that must notice; one is enough.
        ask: changes the request.
        reply: changes the answer.
    """

    name: str
    cases: tuple[str, ...]
    ask: Ask = lambda job: job
    reply: Reply = lambda job, answer: answer


# -- faults in the graph ----------------------------------------------------------------------------------------------------


def _graphs(edit: Edit) -> Ask:
    """A request with its graphs edited; each graph is edited once."""
    done: dict[int, tuple[Graph, Graph]] = {}

    def once(graph: Graph) -> Graph:
        if id(graph) not in done:
            done[id(graph)] = (graph, edit(graph))
        return done[id(graph)][1]

    def ask(job: Job) -> Job:
        training = None if job.training is None else replace(job.training, graph=once(job.training.graph))
        return replace(job, graph=once(job.graph), training=training)

    return ask


def _nodes(op_types: Sequence[str], change: Callable[[ir.Node, ir.Graph], None]) -> Edit:
    def edit(graph: Graph) -> Graph:
        clone = graph.copy()
        body = clone.model.graph
        for node in list(body):
            if node.op_type in op_types:
                change(node, body)
        return clone

    return edit


def _epsilon(node: ir.Node, body: ir.Graph) -> None:
    node.attributes["epsilon"] = ir.AttrFloat32("epsilon", 2e-5)


def _leaky(node: ir.Node, body: ir.Graph) -> None:
    node.op_type = "LeakyRelu"
    node.attributes["alpha"] = ir.AttrFloat32("alpha", 1e-3)


def _shifted_padding(node: ir.Node, body: ir.Graph) -> None:
    pads = node.attributes["pads"].as_ints()
    half = len(pads) // 2
    shifted = [0] * half + [pads[i] + pads[i + half] for i in range(half)]
    node.attributes["pads"] = ir.AttrInt64s("pads", shifted)


def _tf32(node: ir.Node, body: ir.Graph) -> None:
    """Both factors rounded to 11 significant bits by Veltkamp's splitting: c = (2^13 + 1) x; x' = c - (c - x)."""
    for i in (0, 1):
        x = node.inputs[i]
        factor = ir.Value(name=f"{node.name}.split{i}", shape=ir.Shape(()), type=ir.TensorType(ir.DataType.FLOAT))
        factor.const_value = ir.tensor(np.array(8193.0, np.float32), name=factor.name)
        body.register_initializer(factor)
        c = ir.node("Mul", [x, factor], name=f"{node.name}.split{i}.c")
        rest = ir.node("Sub", [c.outputs[0], x], name=f"{node.name}.split{i}.rest")
        high = ir.node("Sub", [c.outputs[0], rest.outputs[0]], name=f"{node.name}.split{i}.high")
        for new in (c, rest, high):
            new.outputs[0].name = f"{new.name}.out"
        body.insert_before(node, [c, rest, high])
        node.replace_input_with(i, high.outputs[0])


def _smoothed(graph: Graph) -> Graph:
    """The training graph of the same model under a slightly smoothed loss."""
    return models.reference("mlp").model.training_graph(losses.CrossEntropy(label_smoothing=1e-3))


# -- faults in the update rule -------------------------------------------------------------------------------------------------


def _rule(optimizer: Callable[[Any], Optimizer]) -> Ask:
    def ask(job: Job) -> Job:
        assert job.training is not None
        return replace(job, training=replace(job.training, optimizer=optimizer(job.training.optimizer)))

    return ask


# -- faults in the answer ------------------------------------------------------------------------------------------------------


def _arrays(change: Callable[[Job, dict[str, np.ndarray]], None]) -> Reply:
    def reply(job: Job, answer: Answer) -> Answer:
        arrays = {n: np.array(a) for n, a in answer.arrays.items()}
        change(job, arrays)
        return Answer(answer.status, arrays, answer.error, answer.message, answer.trace)

    return reply


def _main(arrays: Mapping[str, np.ndarray]) -> str:
    """The largest floating-point array."""
    return max((n for n, a in arrays.items() if a.dtype == np.float32), key=lambda n: arrays[n].size)


def _one_element(job: Job, arrays: dict[str, np.ndarray]) -> None:
    """The element of median size of the largest array grows by 0.1 %."""
    flat = arrays[_main(arrays)].reshape(-1)
    order = np.argsort(np.abs(flat))
    order = order[np.abs(flat[order]) > 0]
    flat[order[len(order) // 2]] *= np.float32(1.001)


def _nan(job: Job, arrays: dict[str, np.ndarray]) -> None:
    arrays[_main(arrays)].reshape(-1)[-1] = np.nan


def _wrong_dtype(job: Job, arrays: dict[str, np.ndarray]) -> None:
    name = _main(arrays)
    arrays[name] = arrays[name].astype(np.float64)


def _swapped(job: Job, arrays: dict[str, np.ndarray]) -> None:
    a, b = [n for n, v in arrays.items() if n.endswith(("o1", "o2"))][:2]
    arrays[a], arrays[b] = arrays[b], arrays[a]


def _unbiased(job: Job, arrays: dict[str, np.ndarray]) -> None:
    """Running variance from n - 1 instead of n: what the batch added grows by n / (n - 1)."""
    name = next(n for n in arrays if "var" in n)
    x = job.arrays["feed/x"]
    n = x.size // x.shape[1]
    old = job.graph.buffers["running_var"] * np.float32(0.9)
    arrays[name] = (old + (arrays[name] - old) * np.float32(n / (n - 1))).astype(np.float32)


NORM, STEP, MLP = "batch_norm/2d/train", "trajectory/lenet/sgd/step01", "trajectory/mlp/sgd/step01"

MUTANTS: tuple[Mutant, ...] = (
    Mutant("BatchNorm epsilon 2e-5 instead of 1e-5", (NORM,), _graphs(_nodes(["BatchNormalization"], _epsilon))),
    Mutant("BatchNorm running variance unbiased", (NORM,), reply=_arrays(_unbiased)),
    Mutant("ReLU leaks 1e-3", (STEP,), _graphs(_nodes(["Relu"], _leaky))),
    Mutant("one gradient element +0.1 %", ("gradients/layer/conv2d",), reply=_arrays(_one_element)),
    Mutant("one of 400 000 elements of a slot +0.1 %", (MLP,), reply=_arrays(_one_element)),
    Mutant("Adam epsilon inside the root", ("optimizers/adam/step1",),
           _rule(lambda o: AdamInsideRoot(o.lr, o.betas, o.eps))),
    Mutant("Adam epsilon 1e-7 instead of 1e-8", ("optimizers/adam/step1",), _rule(lambda o: replace(o, eps=1e-7))),
    Mutant("label smoothing 1e-3", (MLP,), _graphs(_smoothed)),
    Mutant("factors rounded to TF32", (STEP,), _graphs(_nodes(["Conv", "Gemm", "MatMul"], _tf32))),
    Mutant("padding on the wrong side", ("batch_norm/network/gradients",), _graphs(_nodes(["Conv"], _shifted_padding))),
    Mutant("Nesterov momentum", ("optimizers/sgd_momentum/step1",),
           _rule(lambda o: SGD(o.lr, momentum=o.momentum, nesterov=True))),
    Mutant("NaN in one element", ("forward/generated/conv_odd",), reply=_arrays(_nan)),
    Mutant("two outputs swapped", ("forward/generated/lstm_both_ways",), reply=_arrays(_swapped)),
    Mutant("float64 instead of float32", ("forward/generated/conv_odd",), reply=_arrays(_wrong_dtype)),
)
"""Every mutant that the suite must catch; the empty collection is one more, see `hunt`."""


def bench() -> dict[str, Case]:
    """The cases that mutants run on, by id."""
    from polymodel_conformance.levels import cases_of

    wanted = {i for m in MUTANTS for i in m.cases}
    levels = {"forward": 1, "gradients": 2, "optimizers": 3, "batch_norm": 5, "trajectory": 6}
    return {
        case.id: case
        for level in sorted({levels[i.partition("/")[0]] for i in wanted})
        for case in cases_of(level)("smoke", ())
        if case.id in wanted
    }


def hunt(backend: str, call: Callable[[Job], Answer]) -> Iterator[dict[str, Any]]:
    """Plant every mutant on a backend.

    Yields:
        One row each: mutant, backend, caught, verdict, score and limit of the comparison that noticed; and one for each
        unchanged case, which has `control` set and is "caught" when it passes.
    """
    cases = bench()
    for case in cases.values():
        case.prepare()
        control = case.judge(lambda job, other=None, place=HERE: call(job))
        yield _row(case.id, backend, control, caught=control.verdict is Verdict.PASS, control=True)
    for mutant in MUTANTS:
        outcomes = [cases[i].judge(_mutated(mutant, call)) for i in mutant.cases]
        outcome = max(outcomes, key=lambda o: o.verdict.bad)
        noticed = any(o.verdict in (Verdict.FAIL, Verdict.SUSPICIOUS) for o in outcomes)
        yield _row(mutant.name, backend, outcome, caught=noticed)
    yield _empty(backend)


def _mutated(mutant: Mutant, call: Callable[[Job], Answer]) -> Call:
    def ask(job: Job, backend: str | None = None, place: Place = HERE) -> Answer:
        answer = call(mutant.ask(job))
        return mutant.reply(job, answer) if answer.status == "done" else answer

    return ask


def _row(name: str, backend: str, outcome: Outcome, *, caught: bool, control: bool = False) -> dict[str, Any]:
    top = outcome.worst
    return {
        "mutant": name,
        "control": control,
        "backend": backend,
        "caught": caught,
        "verdict": outcome.verdict.value,
        "score": f"{top.score:.3g}" if top else outcome.message[:200],
        "limit": f"{top.limit:.3g}" if top else "",
    }


def _empty(backend: str) -> dict[str, Any]:
    """A run that collects nothing must not pass."""
    from polymodel_conformance.report import Report
    from polymodel_conformance.run import judge_all

    report = Report("smoke", [1], [backend])
    judge_all(report, {}, [], quiet=True)
    return _row("no case collected", backend, Outcome(Verdict.FAIL), caught=report.exit_code == 1)
