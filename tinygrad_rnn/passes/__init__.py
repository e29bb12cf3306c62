"""Passes: graph -> graph, the same meaning, less work."""
