"""Operator families: declarations, formulas and kernels. Imported by `caffe2py.core` alone."""
