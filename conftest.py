"""Registers the suite's pytest plugin, and no more."""

pytest_plugins = ["suite.plugin"]
