"""Core ML artifacts, read and run without Apple's software."""
