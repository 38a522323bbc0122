"""Converters, one a file, and what stands in what they made."""
