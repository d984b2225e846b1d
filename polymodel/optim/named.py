"""From the words of a configuration to an optimizer, a schedule or clipping, and back."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from polymodel.errors import ConfigError, GraphError
from polymodel.optim.adadelta import Adadelta
from polymodel.optim.adafactor import Adafactor
from polymodel.optim.adagrad import Adagrad
from polymodel.optim.adam import Adam, AdamW
from polymodel.optim.adamax import Adamax
from polymodel.optim.average import Averaged
from polymodel.optim.base import Optimizer
from polymodel.optim.chains import Chain, Warmup
from polymodel.optim.clip import Clip, ClipNorm, ClipParameterNorm, ClipValue
from polymodel.optim.constraints import CONSTRAINTS, Constrained, Constraint
from polymodel.optim.cycles import Cosine, CosineRestarts, OneCycle
from polymodel.optim.groups import Group, Groups
from polymodel.optim.lamb import LAMB
from polymodel.optim.lion import Lion
from polymodel.optim.nadam import NAdam
from polymodel.optim.rmsprop import RMSprop
from polymodel.optim.schedules import Constant, Exponential, InverseSqrt, MultiStep, Polynomial, Schedule, Step
from polymodel.optim.sgd import SGD

OPTIMIZERS: dict[str, type[Optimizer]] = {
    c.name: c for c in (SGD, Adam, AdamW, Adamax, NAdam, RMSprop, Adagrad, Adadelta, Lion, LAMB, Adafactor)
}
SCHEDULES: dict[str, type[Schedule]] = {
    c.name: c
    for c in (
        Constant, Step, MultiStep, Exponential, Polynomial, InverseSqrt, Cosine, CosineRestarts, OneCycle, Warmup, Chain,
    )
}
CLIPS: dict[str, Callable[[float], Clip]] = {"norm": ClipNorm, "parameter_norm": ClipParameterNorm, "value": ClipValue}

T = TypeVar("T")


def get_optimizer(spec: str | Mapping[str, Any] | Optimizer) -> Optimizer:
    """The optimizer that a word, a mapping with "name" or an optimizer stands for.

    Besides the hyperparameters of the rule a mapping may have

        groups:       [{match: "*.bias", weight_decay: 0}, ...]; see Groups
        constraints:  [{name: max_norm, match: "conv*.weight", max_norm: 3}, ...]; see constraints.py
        ema:          a decay, or {decay: 0.999, warmup: true}; see Averaged

    Raises:
        ConfigError: an unknown name, an unknown hyperparameter or an impossible value, by its dotted name.

    Example:
        >>> get_optimizer({"name": "sgd", "lr": 0.5, "momentum": 0.5})
        SGD(lr=0.5, momentum=0.5, weight_decay=0.0, nesterov=False)
    """
    if isinstance(spec, Optimizer):
        return spec
    if not isinstance(spec, Mapping):
        return make(spec, OPTIMIZERS, "optimizer")
    own = {k: v for k, v in spec.items() if k not in ("groups", "constraints", "ema")}
    try:
        return _wrapped(make(own, OPTIMIZERS, "optimizer"), spec)
    except ConfigError as error:
        words = str(error)
        raise ConfigError(words if words.startswith("optimizer") else f"optimizer.{words}") from None


def get_constraint(spec: Mapping[str, Any] | Constraint, where: str = "constraints") -> Constraint:
    """The constraint that a mapping with "name" and "match" stands for.

    Raises:
        ConfigError: as get_optimizer.

    Example:
        >>> get_constraint({"name": "max_norm", "match": "head.*", "max_norm": 3})
        MaxNorm(match='head.*', max_norm=3.0)
    """
    return spec if isinstance(spec, Constraint) else make(spec, CONSTRAINTS, where)


def _wrapped(rule: Optimizer, spec: Mapping[str, Any]) -> Optimizer:
    """A rule with groups, constraints and an average around it, in this order."""
    for key in ("groups", "constraints"):
        if not isinstance(spec.get(key, []), list | tuple):
            raise ConfigError(f"{key}: expected a list, received {spec[key]!r}")
    if spec.get("groups"):
        rule = Groups(rule, tuple(_group(g, f"groups.{i}") for i, g in enumerate(spec["groups"])))
    if spec.get("constraints"):
        found = (get_constraint(c, f"constraints.{i}") for i, c in enumerate(spec["constraints"]))
        rule = Constrained(rule, tuple(found))
    ema = spec.get("ema")
    if ema is None:
        return rule
    options = dict(ema) if isinstance(ema, Mapping) else {"decay": ema}
    for key in options:
        if key not in ("decay", "warmup"):
            raise ConfigError(unknown(f"ema.{key}", key, ("decay", "warmup")))
    return Averaged(rule, **options)


def _group(spec: Any, where: str) -> Group:
    if isinstance(spec, Group):
        return spec
    if not isinstance(spec, Mapping) or "match" not in spec:
        raise ConfigError(f"{where}: expected a mapping with a key 'match', received {spec!r}")
    match = spec["match"]
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k != "match"}
    return Group((match,) if isinstance(match, str) else tuple(match), options)


def innermost(rule: Optimizer) -> Optimizer:
    """The rule inside of groups, constraints and averages."""
    while isinstance(rule, Averaged | Constrained | Groups):
        rule = rule.base if isinstance(rule, Groups) else rule.inner
    return rule


def check_patterns(rule: Optimizer, names: Sequence[str]) -> None:
    """Refuse patterns of groups and constraints that match no parameter.

    Raises:
        GraphError: names the pattern.
    """
    inner = rule.inner if isinstance(rule, Averaged | Constrained) else None
    if inner is not None:
        check_patterns(inner, names)
    for pattern in rule.patterns() if isinstance(rule, Constrained | Groups) else ():
        if not any(fnmatchcase(n, pattern) for n in names):
            raise GraphError(
                f"optimizer: pattern {pattern!r} matches no trained parameter; there are {', '.join(names[:12]) or 'none'}"
            )


def get_schedule(spec: str | Mapping[str, Any] | Schedule | None, where: str = "schedule") -> Schedule:
    """The schedule that a word, a mapping with "name" or a schedule stands for; None is Constant.

    Raises:
        ConfigError: as get_optimizer.

    Example:
        >>> get_schedule({"name": "warmup", "length": 2, "then": {"name": "cosine", "length": 8}}).factor(2)
        1.0
    """
    if spec is None:
        return Constant()
    if isinstance(spec, Schedule):
        return spec
    if isinstance(spec, Mapping) and "then" in spec:
        spec = {**spec, "then": get_schedule(spec["then"], f"{where}.then")}
    if isinstance(spec, Mapping) and isinstance(spec.get("parts"), list | tuple):
        parts = tuple(get_schedule(part, f"{where}.parts.{i}") for i, part in enumerate(spec["parts"]))
        spec = {**spec, "parts": parts}
    return make(spec, SCHEDULES, where)


def get_clip(spec: Mapping[str, Any] | Clip | None) -> Clip | None:
    """Clipping from {"norm": x}, {"parameter_norm": x} or {"value": x}; None is none.

    "norm" is of all gradients together (Keras: global_clipnorm), "parameter_norm" of each by itself (Keras: clipnorm).

    Raises:
        ConfigError: another key, both of them, or an impossible value.

    Example:
        >>> get_clip({"norm": 1.0})
        ClipNorm(max_norm=1.0)
    """
    if spec is None or isinstance(spec, ClipNorm | ClipParameterNorm | ClipValue):
        return spec
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise ConfigError(f"clip is {{'norm': x}} or {{'value': x}}, received {spec!r}")
    key, value = next(iter(spec.items()))
    if key not in CLIPS:
        raise ConfigError(unknown(f"clip.{key}", key, CLIPS))
    return CLIPS[key](value)


def describe(item: Any) -> Any:
    """The mapping that `get_*` would make an equal object from; what checkpoints and printed configurations hold.

    Example:
        >>> describe(SGD(0.5))["name"]
        'sgd'
    """
    if isinstance(item, Averaged):
        return {**describe(item.inner), **item.words()}
    if isinstance(item, Constrained):
        return {**describe(item.inner), "constraints": [describe(c) for c in item.constraints]}
    if isinstance(item, Groups):
        groups = [{"match": list(g.patterns), **{k: describe(v) for k, v in g.options.items()}} for g in item.groups]
        return {**describe(item.base), "groups": groups}
    if is_dataclass(item) and not isinstance(item, type):
        name = {"name": item.name} if hasattr(item, "name") else {}
        return {**name, **{f.name: describe(getattr(item, f.name)) for f in fields(item)}}
    return [describe(i) for i in item] if isinstance(item, tuple) else item


def unknown(path: str, key: str, known: Iterable[str]) -> str:
    """The message for a key that does not exist: its dotted name, the nearest valid one, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f" did you mean {close[0]!r}?" if close else ""
    return f"{path}: unknown key;{hint} valid keys: {', '.join(names)}"


def make(spec: Any, table: Mapping[str, type[T]], where: str) -> T:
    """The object of a table of dataclasses that a word or a mapping with "name" stands for."""
    options = {"name": spec} if isinstance(spec, str) else dict(spec) if isinstance(spec, Mapping) else None
    if options is None or not isinstance(options.get("name"), str):
        raise ConfigError(f"{where}: expected a name or a mapping with a key 'name', received {spec!r}")
    name = options.pop("name")
    if name not in table:
        close = difflib.get_close_matches(name, table, n=1)
        hint = f" did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{where}.name: unknown name {name!r};{hint} known: {', '.join(sorted(table))}")
    known = {f.name: f for f in fields(table[name])}  # type: ignore[arg-type]
    for key, value in options.items():
        if key not in known:
            raise ConfigError(unknown(f"{where}.{key}", key, known))
        _check_kind(f"{where}.{key}", value, known[key].default)
    missing = [k for k, f in known.items() if k not in options and f.default is f.default_factory is MISSING]
    if missing:
        raise ConfigError(f"{where}.{missing[0]}: missing; {name!r} needs it")
    try:
        return table[name](**options)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _check_kind(path: str, value: Any, default: Any) -> None:
    """Refuse what has another kind than the default: the dataclasses themselves check ranges only."""
    if isinstance(default, bool):
        ok, want = isinstance(value, bool), "true or false"
    elif isinstance(default, float):
        ok, want = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif isinstance(default, str):
        ok, want = isinstance(value, str), "a word"
    elif isinstance(default, tuple):
        ok, want = isinstance(value, list | tuple) and len(value) == len(default), f"a list of {len(default)} numbers"
    else:
        return
    if not ok:
        raise ConfigError(f"{path}: expected {want}, received {value!r}")
