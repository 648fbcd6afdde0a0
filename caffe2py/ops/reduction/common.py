"""Formulas that several reductions use."""

from __future__ import annotations


def times(x, factor):
    """A scaled element, for means."""
    return x * factor
