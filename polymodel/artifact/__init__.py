"""ONNX files in and out: load, export, verify."""
