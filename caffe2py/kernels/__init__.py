"""Loops, written once: they move through arrays, and the mathematics is passed in."""
