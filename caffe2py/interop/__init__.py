"""Models of other frameworks, to nets and back: ONNX (both ways) and Caffe 1 (reading)."""
