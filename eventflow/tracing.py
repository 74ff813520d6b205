"""Eventflow's own tracer. Without a provider (tests, commands) its spans cost nothing and go nowhere.

Traced is what Eventflow does to others: notifications sent, incidents opened, messages replayed. Receiving, storing and
digesting spans is never traced: a span about storing spans would be stored, and so on without end.
"""

from opentelemetry import trace

tracer = trace.get_tracer("eventflow")
