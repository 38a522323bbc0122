"""Faults of the file as a whole."""

from __future__ import annotations


def truncated(data: bytes) -> bytes:
    """The download broke off halfway."""
    return data[: len(data) // 2]


def overwritten(data: bytes) -> bytes:
    """A kilobyte in the middle of the file was overwritten after conversion."""
    start = len(data) // 2
    return data[:start] + bytes(byte ^ 0xFF for byte in data[start : start + 1024]) + data[start + 1024 :]


FAULTS = (truncated, overwritten)
