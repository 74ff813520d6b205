"""OpenTelemetry traces pushed to us: OTLP over HTTP and gRPC → span batches, durable before they are acknowledged."""

from collectors.otlp.collector import MAX_BYTES, OtlpReceiver

__all__ = ["MAX_BYTES", "OtlpReceiver"]
