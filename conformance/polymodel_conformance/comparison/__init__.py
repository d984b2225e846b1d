"""Any two of: a file on a backend, a run, ONNX Runtime, the reference evaluator, the oracle, a module of a framework."""
