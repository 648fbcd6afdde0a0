"""Recurrent networks: cells, what puts them over a sequence, attention."""
