"""A source's URL taken apart: where the server is and who we are there. Pure; its errors never repeat the URL."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from collectors.base import CollectorError


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is and who we are there. `shown` holds no secret."""

    servers: tuple[str, ...]
    shown: str
    user: str | None
    password: str | None
    token: str | None
    credentials: str | None
    inbox: str
    api: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Take a source URL apart. Raises a permanent CollectorError (without the URL) when it is none."""
        try:
            parts = urlsplit(url)
            options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        except ValueError:
            raise CollectorError("the NATS URL can't be read; write nats://host:4222", permanent=True) from None
        who, _, where = parts.netloc.rpartition("@")
        hosts = [host if ":" in host.rpartition("]")[2] else f"{host}:4222" for host in where.split(",") if host]
        if not hosts or not all(host.rpartition(":")[2].isdigit() for host in hosts):
            raise CollectorError("the NATS URL names no host and port; write nats://host:4222", permanent=True)
        scheme = "tls" if parts.scheme.lower() == "tls+nats" else "nats"
        user, colon, password = who.partition(":")
        domain = options.get("domain", "")
        return cls(
            servers=tuple(f"{scheme}://{host}" for host in hosts),
            shown=",".join(hosts),
            user=unquote(user) if colon else None,
            password=unquote(password) if colon else None,
            token=unquote(user) if user and not colon else None,
            credentials=options.get("creds"),
            inbox=options.get("inbox_prefix", "_INBOX"),
            api=f"$JS.{domain}.API" if domain else "$JS.API",
        )
