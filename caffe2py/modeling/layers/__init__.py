"""Layers: functions that add operators, and the parameters that these need, to a model."""
