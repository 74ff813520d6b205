"""A normal shop: small services on a real message broker, instrumented with the OpenTelemetry SDK the ordinary way.

It is the example to copy from, and it is a stranger to Eventflow: it knows an OTLP address and a broker, nothing else.
"""
