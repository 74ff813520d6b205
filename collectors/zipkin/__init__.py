"""Zipkin v2 JSON pushed to us on port 9411 → the same span batches that OTLP makes, durable before the 202."""

from collectors.zipkin.collector import ZipkinReceiver

__all__ = ["ZipkinReceiver"]
