"""A source's URL taken apart: the brokers, TLS and SASL, in the words of both client libraries. Pure.

Errors and `shown` never repeat the URL: it may hold a password.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from collectors.base import CollectorError

EXAMPLE = "write kafka://host:9092 (kafka+ssl:// for TLS, user:password@ and ?mechanism=SCRAM-SHA-512 for SASL)"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_YES = {"1", "true", "yes", "on"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the cluster is and who we are there."""

    servers: tuple[str, ...]
    tls: bool
    mechanism: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    token_url: str | None = None
    """Where OAUTHBEARER's token is fetched, with user and password as client credentials."""
    scope: str | None = None

    @property
    def shown(self) -> str:
        return ",".join(self.servers)

    @property
    def protocol(self) -> str:
        return ("SASL_" if self.mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")

    @classmethod
    def of(cls, url: str) -> "Address":
        """Take a source URL apart. Raises a permanent CollectorError (without the URL) when it is none."""
        try:
            parts = urlsplit(url)
            options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        except ValueError:
            raise CollectorError(f"the Kafka URL can't be read; {EXAMPLE}", permanent=True) from None
        who, _, where = parts.netloc.rpartition("@")
        hosts = [host if ":" in host.rpartition("]")[2] else f"{host}:9092" for host in where.split(",") if host]
        if not hosts or not all(host.rpartition(":")[2].isdigit() for host in hosts):
            raise CollectorError(f"the Kafka URL names no host and port; {EXAMPLE}", permanent=True)
        user, colon, password = who.partition(":")
        mechanism = options.get("mechanism", "PLAIN" if colon else "").upper() or None
        if mechanism and mechanism not in MECHANISMS:
            raise CollectorError(
                f"the Kafka URL names a SASL mechanism that is not one of {', '.join(MECHANISMS)}", permanent=True
            )
        if mechanism and not colon:
            raise CollectorError(f"the Kafka URL names SASL but no user and password; {EXAMPLE}", permanent=True)
        if mechanism == "OAUTHBEARER" and not options.get("token_url"):
            raise CollectorError("OAUTHBEARER needs ?token_url=https://… in the source's URL", permanent=True)
        return cls(
            servers=tuple(hosts),
            tls=parts.scheme.lower().endswith("+ssl") or options.get("tls", "").lower() in _YES,
            mechanism=mechanism,
            user=unquote(user) if colon else None,
            password=unquote(password) if colon else None,
            ca=options.get("ca"),
            certificate=options.get("cert"),
            key=options.get("key"),
            token_url=options.get("token_url"),
            scope=options.get("scope"),
        )

    def librdkafka(self) -> dict[str, str]:
        """confluent-kafka's words for it; without what OAUTHBEARER needs, a callback."""
        words = {"bootstrap.servers": self.shown, "security.protocol": self.protocol}
        if self.mechanism:
            words["sasl.mechanism"] = self.mechanism
        if self.mechanism and self.mechanism != "OAUTHBEARER":
            words |= {"sasl.username": self.user or "", "sasl.password": self.password or ""}
        files = {"ssl.ca.location": self.ca, "ssl.certificate.location": self.certificate, "ssl.key.location": self.key}
        return words | {name: path for name, path in files.items() if path and self.tls}
