"""The audit of a live service: model extraction over HTTP, or through any Python function."""
