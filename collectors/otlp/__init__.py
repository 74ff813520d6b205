"""OpenTelemetry pushed to us: OTLP over HTTP and gRPC → spans, and lag out of metrics; durable, then acknowledged."""

from collectors.otlp.collector import MAX_BYTES, OtlpReceiver

__all__ = ["MAX_BYTES", "OtlpReceiver"]
