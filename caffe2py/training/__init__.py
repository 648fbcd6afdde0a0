"""Training from files: rows, iterations, logs, checkpoints. Needs `import caffe2py.core`."""
