"""Comparing search settings on the gallery in use, against an exact search of the same probes."""
