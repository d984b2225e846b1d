"""The names of devices, and lists of several that share the rows of a batch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from polymodel.errors import ConfigError


def known_device(name: str) -> str:
    """A name that a configuration may have.

    Raises:
        ConfigError: it is none of "auto", "cpu", "cpu:N", "cuda" and "cuda:N".

    Example:
        >>> known_device("cuda:1")
        'cuda:1'
    """
    if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", name):
        raise ConfigError(f"expected auto, cpu, cuda or cuda:N, received {name!r}")
    return name


def check_device(name: object) -> str:
    """The name of one device, which a backend may know.

    Raises:
        ConfigError: it is no word.
    """
    if not isinstance(name, str):
        raise ConfigError(
            f"device: expected one name, received {name!r}: several are `devices` of a Trainer; a TrainStep runs on one device"
        )
    return name


def check_devices(names: object) -> tuple[str, ...]:
    """The names of several devices, with their numbers.

    Any number of devices "cpu:N" are the one processor: they are for trying out what several GPUs do.

    Raises:
        ConfigError: it is no list of names, or has one twice.

    Example:
        >>> check_devices(["cuda", "cuda:1"])
        ('cuda:0', 'cuda:1')
        >>> check_devices(["cpu:0", "cpu"])
        Traceback (most recent call last):
        polymodel.errors.ConfigError: devices: 'cpu:0' is there twice: cpu:0, cpu
    """
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ConfigError(f"devices: expected a list of names like ['cuda:0', 'cuda:1'], received {names!r}")
    found: list[str] = []
    for name in names:
        if check_device(name) == "auto":
            raise ConfigError(f"devices: 'auto' chooses one device, received {', '.join(names)}: name each of them")
        full = f"{name}:0" if name in ("cpu", "cuda") else name
        if full in found:
            raise ConfigError(f"devices: {full!r} is there twice: {', '.join(names)}")
        found.append(full)
    return tuple(found)


def chosen_devices(device: str, devices: Sequence[str] | None) -> tuple[str, ...]:
    """What a caller asked for: a list, or one name.

    Raises:
        ConfigError: both, or an impossible name.
    """
    if devices is None:
        return (check_device(device),)
    if device != "auto":
        raise ConfigError(f"device={device!r} and devices={list(devices)!r}: give one of them")
    return check_devices(devices)


def check_rows(devices: Sequence[str], *limits: int | None) -> None:
    """Refuse more devices than a batch ever has rows.

    Args:
        devices: their names.
        limits: the most rows that a batch has, as far as anybody knows.
    """
    rows = min((n for n in limits if n is not None), default=len(devices))
    if rows < len(devices):
        raise ConfigError(
            f"{len(devices)} devices ({', '.join(devices)}) and batches of {rows} samples at most: one would never have anything "
            "to do; give fewer devices or a larger batch_size"
        )
