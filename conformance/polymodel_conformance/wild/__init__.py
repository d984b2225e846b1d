"""Exports by others, judged as ours are: Keras layers, torch.nn modules and the reference models, each exported by the tools
that people use, against the module that they came from. ``python -m polymodel_conformance.wild`` does it.

Nothing here knows what is wrong with whom: a subject is a constructor call and inputs, a route is a way to export it, and
`polymodel.compare` decides.
"""
