"""The onnx package's own test suite, run on backends."""
