"""Saved models: found, checked, fed, run and summed up."""
