"""Writes. Recording the same observation twice is harmless."""
