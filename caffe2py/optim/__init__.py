"""Optimizers: the operators that change parameters by their gradients."""
