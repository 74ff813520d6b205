"""Reads the store, asks the domain, renders templates. Never talks to a broker."""
