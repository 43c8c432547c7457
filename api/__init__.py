"""Robi over HTTP: thin routes around `core.services.service`."""
