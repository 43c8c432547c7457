"""Robi over HTTP: thin routes around `core.service`."""
