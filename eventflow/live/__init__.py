"""Carries news ("this changed") to browsers over Channels, never content."""
