"""Reads. Every function says what it costs in queries; none writes."""
