"""ONNX models to a pair of nets and back; needs the extra `onnx`."""
