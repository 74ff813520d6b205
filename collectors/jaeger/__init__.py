"""Traces in the JSON that Jaeger's UI saves → OTLP. Only for files that people keep: nothing listens here."""
