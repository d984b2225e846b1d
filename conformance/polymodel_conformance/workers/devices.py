"""Whether a backend can be judged on a CUDA device here, and if not, why not."""

from __future__ import annotations

from polymodel.gpus import gpus, sm
from polymodel_conformance.workers.client import Place, Unavailable, Worker

CUDA = Place(device="cuda:0")
"""The process in which a backend runs on the first CUDA device."""


def obstacle(worker: Worker) -> str:
    """Why a backend is not run on a CUDA device; empty when it can be.

    A card has to be there, the backend must have code for cards of its kind, and its framework must find it.
    """
    cards = gpus()
    if not cards:
        return "no CUDA device"
    if kinds := worker.about.get("cuda_architectures"):
        low, high = kinds
        if not any(low <= capability <= high for _, capability in cards):
            there = ", ".join(sorted({f"{name} ({sm(capability)})" for name, capability in cards}))
            return f"no CUDA device that it has kernels for: here is {there}, its build has kernels for {sm(low)} to {sm(high)}"
    try:
        about = worker.at(CUDA).start()
    except Unavailable as error:
        return f"no CUDA device: its process on {CUDA.device} does not start: {error}"
    if CUDA.device in about["devices"]:
        return ""
    note = about.get("cuda_note") or "its framework finds none"
    return f"no CUDA device that it can use: {note}"
