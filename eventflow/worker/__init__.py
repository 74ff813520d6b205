"""Runs collectors and background jobs; the only part that talks to brokers."""
