"""What all receivers do alike: listen, read a request within limits, check its token, offer it until it is durable.

Knows no protocol. Receivers (`otlp`, `zipkin`) build on it and never on each other.
"""
