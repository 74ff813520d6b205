"""A source's URL taken apart: where the broker is and who we are there. Pure; its errors never repeat the URL."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from collectors.base import CollectorError

EXAMPLE = "celery+redis://host:6379/0 or celery+amqp://host:5672/vhost"
PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is and who we are there. `shown` holds no secret."""

    host: str
    port: int
    shown: str
    database: int
    vhost: str
    user: str | None
    password: str | None
    tls: bool
    ca_file: str | None
    queues: tuple[str, ...]
    """Named by the operator, by comma or `+`: then no key is looked for."""

    @classmethod
    def of(cls, url: str) -> "Address":
        """Take a source URL apart. Raises a permanent CollectorError (without the URL) when it is none."""
        try:
            parts = urlsplit(url)
            broker = parts.scheme.lower().partition("+")[2]
            host, port = parts.hostname, parts.port or PORTS.get(broker, 6379)
            options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            amqp = broker.startswith("amqp")
            database = 0 if amqp else int(parts.path.strip("/") or 0)
        except ValueError:
            raise CollectorError(f"the Celery URL can't be read; write {EXAMPLE}", permanent=True) from None
        if not host:
            raise CollectorError(f"the Celery URL names no host; write {EXAMPLE}", permanent=True)
        return cls(
            host=host,
            port=port,
            shown=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            database=database,
            vhost=unquote(parts.path.removeprefix("/")) or "/",
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=broker in {"rediss", "amqps"},
            ca_file=options.get("ca"),
            queues=tuple(options.get("queues", "").replace(",", " ").split()),
        )
