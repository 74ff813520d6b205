"""All talk with RabbitMQ: GET on the management API and on the Prometheus endpoint. Nothing else, so nothing changes.

Promises: every call ends (answer, refusal, lost connection or timeout), a refusal is told from an empty answer, and no
message or log line ever holds credentials.
"""

import logging
import ssl
from typing import Any
from urllib.parse import quote

import orjson

from collectors.base import CollectorError
from collectors.closing import closed
from collectors.rabbitmq.address import Address

try:
    import httpx
except ImportError:  # the extra `rabbitmq` was not installed: said when a source of this kind is connected
    httpx = None  # type: ignore[assignment]  # checked before use

ANSWER_SECONDS = 20.0
CONNECT_SECONDS = 4.0

# httpx tells every request at INFO, with the URL.
logging.getLogger("httpx").setLevel(logging.WARNING)


class NotAllowedError(CollectorError):
    """The user may not see this."""


class Client:
    """One session. `calls` and `received_bytes` count what we cost the server."""

    def __init__(self, url: str) -> None:
        self.address = Address.of(url)
        self.calls = 0
        self.received_bytes = 0
        self._vhost = quote(self.address.vhost, safe="")
        self._session: Any = None

    async def connect(self) -> dict[str, Any]:
        """Log in, and return what the server says of itself. Raises CollectorError; permanent when it knows us not."""
        if httpx is None:
            raise CollectorError(
                "looking at RabbitMQ needs httpx: run pip install 'eventflow[rabbitmq]'", permanent=True
            )
        where = self.address
        try:
            trusted = ssl.create_default_context(cafile=where.ca_file) if where.base.startswith("https") else False
        except OSError:
            raise CollectorError("the file named by ?ca= in the source's URL can't be read", permanent=True) from None
        self._session = httpx.AsyncClient(
            trust_env=False, verify=trusted, timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        )
        try:
            me = await self.get("whoami")
        except NotAllowedError as refusal:
            if "management user" in str(refusal):
                raise CollectorError(
                    "RabbitMQ lets this user not look: give it the tag monitoring "
                    f"(rabbitmqctl set_user_tags {where.user} monitoring)",
                    permanent=True,
                ) from None
            raise CollectorError(
                f"RabbitMQ at {where.shown} refuses our credentials: correct user and password in the source's URL",
                permanent=True,
            ) from None
        if not isinstance(me, dict) or "name" not in me:
            raise CollectorError(f"what answers at {where.shown} is no RabbitMQ management API", permanent=True)
        found = await self.get("overview?columns=rabbitmq_version,rates_mode,object_totals.queues")
        return found if isinstance(found, dict) else {}

    async def close(self) -> None:
        """Give the connection back."""
        session, self._session = self._session, None
        if session is not None:
            await closed(session.aclose())

    async def get(self, path: str) -> Any:
        """An answer of the management API; `VHOST` in the path stands for ours."""
        where = self.address
        url = f"{where.base}/{path.replace('VHOST', self._vhost)}"
        status, body = await self._get(url, where.shown, (where.user, where.password))
        try:
            found = orjson.loads(body)
        except ValueError:
            found = None
        if status == 200 and found is not None:
            return found
        reason = found.get("reason") if isinstance(found, dict) else None
        if status in (401, 403):
            raise NotAllowedError(f"RabbitMQ says: {str(reason or 'not authorised')[:200]}")
        if status == 404 and "VHOST" in path:
            raise CollectorError(f"RabbitMQ at {where.shown} has no vhost {where.vhost[:100]}", permanent=True)
        if status in (200, 404):
            raise CollectorError(f"what answers at {where.shown} is no RabbitMQ management API", permanent=True)
        raise CollectorError(f"RabbitMQ at {where.shown} answered {status} to {path.partition('?')[0]}")

    async def metrics(self, url: str, families: tuple[str, ...]) -> str:
        """One node's metrics of these families, for our vhost."""
        query = "&".join(f"family={family}" for family in families)
        shown = url.removeprefix("http://").partition("/")[0]
        status, body = await self._get(f"{url}?{query}&vhost={self._vhost}", shown, None)
        if status != 200:
            raise CollectorError(f"{shown} answered {status} instead of metrics: is rabbitmq_prometheus enabled there?")
        return body.decode("utf-8", "replace")

    async def _get(self, url: str, shown: str, who: tuple[str, str] | None) -> tuple[int, bytes]:
        if self._session is None:
            raise CollectorError("not connected")
        self.calls += 1
        try:
            answer = await self._session.get(url, auth=who or httpx.USE_CLIENT_DEFAULT)
        except httpx.ConnectTimeout:
            raise CollectorError(f"no answer from RabbitMQ at {shown}: is the address right?") from None
        except httpx.TimeoutException:
            raise CollectorError(f"RabbitMQ at {shown} gave no answer in {ANSWER_SECONDS:.0f} s") from None
        except httpx.ConnectError as error:
            why = "no TLS with it" if "SSL" in str(error) or "CERTIFICATE" in str(error) else "connection refused"
            raise CollectorError(f"can't reach RabbitMQ at {shown}: {why}") from None
        except httpx.HTTPError as error:
            raise CollectorError(f"RabbitMQ at {shown} closed the connection ({type(error).__name__})") from None
        self.received_bytes += len(answer.content)
        return answer.status_code, answer.content
