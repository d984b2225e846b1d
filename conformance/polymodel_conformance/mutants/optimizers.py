"""Faults in update rules: epsilons, momentum, weight decay, bias correction, clipping, of every rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from polymodel.optim import ClipNorm, ClipValue, Optimizer
from polymodel_conformance.mutants.mutant import Ask, Mutant, options
from polymodel_conformance.mutants.rules import FAULTS, SCALARS, ClipEach, Wrong
from polymodel_conformance.workers.jobs import Job


def _rule(change: Callable[[Any], Optimizer]) -> Ask:
    def ask(job: Job) -> Job:
        assert job.training is not None
        return replace(job, training=replace(job.training, optimizer=change(job.training.optimizer)))

    return ask


def _clip(clip: Any) -> Ask:
    def ask(job: Job) -> Job:
        assert job.training is not None
        return replace(job, training=replace(job.training, clip=clip))

    return ask


def _wrong(fault: str, case: str, name: str = "") -> Mutant:
    assert fault in FAULTS or fault in SCALARS
    return Mutant(name or fault, f"optimizers/{case}", _rule(lambda o: Wrong.of(o, fault)))


def _other(name: str, case: str, **values: Any) -> Mutant:
    return Mutant(name, f"optimizers/{case}", _rule(lambda o: replace(o, **values)))


OPTIMIZERS: tuple[Mutant, ...] = (
    _other("SGD Nesterov for plain momentum", "sgd_momentum/step1", nesterov=True),
    _other("SGD plain momentum for Nesterov", "sgd_nesterov/step1", nesterov=False),
    _wrong("momentum is dampened", "sgd_momentum/step1", "SGD momentum dampened"),
    _wrong("learning rate inside the momentum", "sgd_momentum/step2", "SGD learning rate inside the momentum"),
    _wrong("decay is decoupled", "sgd_weight_decay/step1", "SGD weight decay decoupled"),
    _other("SGD weight decay forgotten", "sgd_weight_decay/step1", weight_decay=0.0),
    _wrong("epsilon inside the root", "adam/step1", "Adam epsilon inside the root"),
    _other("Adam epsilon 1e-7 instead of 1e-8", "adam/step1", eps=1e-7),
    _wrong("epsilon not corrected", "adam/step1", "Adam epsilon not corrected (epsilon hat)"),
    _wrong("no bias correction", "adam/step1", "Adam without bias correction"),
    Mutant("Adam counts steps from 2", "optimizers/adam/step2", options(step=lambda n: n + 1)),
    _wrong("second moment of the step before", "adam/step2", "Adam divides by the old second moment"),
    _other("Adam beta2 0.9999", "adam/step2", betas=(0.9, 0.9999)),
    _wrong("decay without learning rate", "adamw/step1", "AdamW decay without learning rate"),
    _wrong("decay as part of the gradient", "adamw/step1", "AdamW decay as part of the gradient"),
    _wrong("decay after the step", "adamw/step1", "AdamW decay after the step"),
    _other("AdamW decay 1 % off", "adamw/step1", weight_decay=0.0505),
    _wrong("Adamax epsilon outside the maximum", "adamax/step1"),
    _wrong("no bias correction", "adamax/step1", "Adamax without bias correction"),
    _wrong("NAdam without the next momentum", "nadam/step2", "NAdam momentum schedule off"),
    _other("NAdam momentum decay ignored", "nadam/step2", momentum_decay=0.0),
    _other("NAdam epsilon 1e-7", "nadam/step1", eps=1e-7),
    _wrong("RMSprop epsilon inside the root", "rmsprop/step1"),
    _other("RMSprop epsilon 1e-7", "rmsprop/step1", eps=1e-7),
    _wrong("RMSprop learning rate inside the momentum", "rmsprop_centered/step2"),
    _wrong("Adagrad starts at 0.1", "adagrad/step1", "Adagrad accumulator starts at 0.1"),
    _wrong("decay of the rate one step ahead", "adagrad/step2", "Adagrad rate decays one step ahead"),
    _wrong("Adadelta epsilon outside the roots", "adadelta/step2"),
    _wrong("Adadelta update not squared", "adadelta/step2"),
    _other("Adadelta epsilon 1e-7", "adadelta/step1", eps=1e-7),
    _wrong("Lion betas swapped", "lion/step2"),
    _wrong("decay without learning rate", "lion/step1", "Lion decay without learning rate"),
    _wrong("LAMB no bias correction", "lamb/step1", "LAMB without bias correction"),
    _wrong("LAMB decay outside the ratio", "lamb/step1"),
    _other("LAMB epsilon 1e-8", "lamb/step1", eps=1e-8),
    _other("Adafactor clips at 2", "adafactor/step2", clip=2.0),
    _other("Adafactor smallest square 1e-30", "adafactor/step1", eps=(1e-30, 1e-3)),
    _other("Adafactor moment decays by -0.7", "adafactor/step2", beta2_decay=-0.7),
    _other("Adafactor weight decay forgotten", "adafactor/step1", weight_decay=0.0),
    Mutant("settings of a group ignored", "optimizers/adamw_groups/step1", _rule(lambda o: o.base)),
    Mutant("average of the parameters at 0.9", "optimizers/sgd_averaged/step1000", _rule(lambda o: replace(o, decay=0.9))),
    Mutant("average of the parameters without its warmup", "optimizers/sgd_averaged/step2", _rule(lambda o: replace(o, warmup=False))),
    Mutant("constraints forgotten", "optimizers/sgd_constrained/step1", _rule(lambda o: o.inner)),
    Mutant("all gradients clipped by one norm", "optimizers/adam_clip_parameter_norm/step2", _clip(ClipNorm(0.5))),
    Mutant("each gradient clipped by its own norm", "optimizers/sgd_clip_norm/step1", _clip(ClipEach(1.0))),
    Mutant("clipped by value, not by norm", "optimizers/sgd_clip_norm/step1", _clip(ClipValue(1.0))),
    Mutant("clipping by value forgotten", "optimizers/adam_clip_value/step2", _clip(None)),
)
"""Every rule has at least two."""
