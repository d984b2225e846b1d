"""The oracle: a float64 evaluation of a graph and its derivatives in NumPy alone."""

from polymodel_conformance.oracle.evaluator import Evaluation, evaluate, supports

__all__ = ["Evaluation", "evaluate", "supports"]
