"""A source's URL taken apart: where the management API is and who we are there. Pure; errors never repeat the URL."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from collectors.base import CollectorError

EXAMPLE = "rabbitmq://user:password@host:15672/vhost"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is and who we are there. `shown` holds no secret."""

    base: str
    shown: str
    vhost: str
    user: str
    password: str
    metrics: tuple[str, ...]
    """Prometheus endpoints, one per node; empty when the numbers come from the management API."""
    ca_file: str | None
    amqp: str
    """Host and port for taking letters and for replays."""
    tls: bool
    take: tuple[str, ...]
    """Dead-letter queues whose letters are to be taken out and kept by us; `*` is every one."""

    @classmethod
    def of(cls, url: str) -> "Address":
        """Take a source URL apart. Raises a permanent CollectorError (without the URL) when it is none."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 15672
            options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        except ValueError:
            raise CollectorError(f"the RabbitMQ URL can't be read; write {EXAMPLE}", permanent=True) from None
        if not host:
            raise CollectorError(f"the RabbitMQ URL names no host; write {EXAMPLE}", permanent=True)
        name = f"[{host}]" if ":" in host else host
        tls = parts.scheme.lower() == "rabbitmqs"

        def words(option: str) -> list[str]:
            """By comma, or by `+` where commas already stand between sources."""
            return options.get(option, "").replace(",", " ").split()

        amqp = options.get("amqp", "")
        if amqp and not amqp.isdigit():
            raise CollectorError("the URL's ?amqp= is a port", permanent=True)
        nodes = [node if ":" in node else f"{name}:{node}" for node in words("prometheus")]
        if not all(node.rpartition(":")[2].isdigit() for node in nodes):
            raise CollectorError("the URL's ?prometheus= is a port, or host:port for each node", permanent=True)
        return cls(
            base=f"{'https' if tls else 'http'}://{name}:{port}/api",
            shown=f"{name}:{port}",
            vhost=unquote(parts.path.removeprefix("/")) or "/",
            user=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            metrics=tuple(f"http://{node}/metrics/detailed" for node in nodes),
            ca_file=options.get("ca"),
            amqp=f"{name}:{amqp or (5671 if tls else 5672)}",
            tls=tls,
            take=tuple(words("take")),
        )
