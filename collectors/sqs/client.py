"""All talk with SQS (and, where an operator allows it, CloudWatch), by botocore in threads of its own.

Promises: every call ends (answer, refusal, no connection or timeout), a refusal is told from an empty answer, and no
message or log line ever holds credentials. botocore's own retries are off: the worker tries again, with growing pauses.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from collectors.base import CollectorError
from collectors.closing import closed
from collectors.sqs.address import Address

try:
    import botocore.loaders
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        EndpointConnectionError,
        InvalidRegionError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
        ReadTimeoutError,
    )
except ImportError:  # the extra `sqs` was not installed: said when a source of this kind is connected
    botocore = None

CONNECT_SECONDS, ANSWER_SECONDS = 4, 8
AT_ONCE = 16
PAGE = 1000
METRICS_AT_ONCE = 500
AGE_WINDOW = timedelta(minutes=10)
"""CloudWatch's figures are a minute wide and come some minutes late."""

_REFUSED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
_UNKNOWN_US = {"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidAccessKeyId"}
_GONE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


class NotAllowedError(CollectorError):
    """We may not do this. `action` names what would have to be allowed."""

    def __init__(self, action: str) -> None:
        super().__init__(f"not allowed: {action}")
        self.action = action


class GoneError(CollectorError):
    """There is no such queue (any more)."""


class Client:
    """One region seen by one identity. `calls` and `received_bytes` count what we cost: AWS bills each call."""

    def __init__(self, url: str) -> None:
        self.address = Address.of(url)
        self.calls = 0
        self.received_bytes = 0
        self._threads: ThreadPoolExecutor | None = None
        self._made: dict[str, Any] = {}

    async def connect(self) -> None:
        """Find the credentials. Raises CollectorError; permanent when there are none. Asks SQS nothing yet."""
        if botocore is None:
            raise CollectorError("looking at SQS needs botocore: run pip install 'eventflow[sqs]'", permanent=True)
        await self.close()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sqs")
        wanted = ("sqs", "cloudwatch") if self.address.cloudwatch else ("sqs",)
        try:
            self._made = await self._in_thread(partial(self._make, wanted))
        except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
            raise CollectorError(
                f"no AWS credentials for the source ({type(error).__name__}): give the process some, or write "
                "?profile= or KEY:SECRET@ in the source's URL",
                permanent=True,
            ) from None
        except (BotoCoreError, ValueError) as error:
            unknown = isinstance(error, InvalidRegionError)
            why = "is no AWS region" if unknown else f"can't be used: {type(error).__name__}"
            raise CollectorError(f"{self.address.shown} {why}", permanent=unknown) from None

    def _make(self, wanted: Sequence[str]) -> dict[str, Any]:
        where = self.address
        session = botocore.session.Session(profile=where.profile)
        session.register_component("data_loader", _descriptions())
        if where.key:
            session.set_credentials(where.key, where.secret, where.token)
        if session.get_credentials() is None:
            raise NoCredentialsError
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"total_max_attempts": 1},
            max_pool_connections=AT_ONCE,
            user_agent_extra="eventflow",
        )
        return {
            name: session.create_client(
                name, region_name=where.region, endpoint_url=where.endpoint, config=config, verify=True
            )
            for name in wanted
        }

    async def close(self) -> None:
        """Give the connections back; never raises, never waits long."""
        made, threads, self._made, self._threads = self._made, self._threads, {}, None
        if threads is not None:
            # A call that is under way ends by itself within its timeouts; its connection is not kept then.
            threads.shutdown(wait=False, cancel_futures=True)
        for client in made.values():
            await closed(asyncio.to_thread(client.close))

    async def _in_thread(self, work: Any) -> Any:
        if self._threads is None:
            raise CollectorError("not connected")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def ask(self, action: str, *, service: str = "sqs", **arguments: Any) -> dict[str, Any]:
        """One call, by its name in botocore. Raises NotAllowedError, GoneError or CollectorError."""
        if service not in self._made:
            raise CollectorError("not connected")
        self.calls += 1
        try:
            answer: dict[str, Any] = await self._in_thread(partial(getattr(self._made[service], action), **arguments))
        except ClientError as error:
            raise self._refused(action, error) from None
        except (NoCredentialsError, PartialCredentialsError):
            raise CollectorError("the AWS credentials of the source are gone") from None
        except EndpointConnectionError:
            raise CollectorError(
                f"can't reach SQS in {self.address.shown}: connection refused", reached=False
            ) from None
        except ConnectTimeoutError:
            raise CollectorError(f"no answer from SQS in {self.address.shown}", reached=False) from None
        except ReadTimeoutError:
            raise CollectorError(f"SQS in {self.address.shown} gave no answer in {ANSWER_SECONDS} s") from None
        except BotoCoreError as error:
            raise CollectorError(f"SQS in {self.address.shown} can't be asked: {type(error).__name__}") from None
        head = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self.received_bytes += int(head.get("content-length", 0))
        return answer

    def _refused(self, action: str, refusal: Any) -> CollectorError:
        told = refusal.response.get("Error", {})
        code, words = str(told.get("Code", "")), str(told.get("Message", ""))[:200]
        if code in _UNKNOWN_US:
            return CollectorError(
                f"SQS in {self.address.shown} refuses our credentials: correct them ({code})", permanent=True
            )
        if code in _REFUSED:
            return NotAllowedError("sqs:" + "".join(word.title() for word in action.split("_")))
        if code in _GONE or told.get("QueryErrorCode") == "QueueDoesNotExist":
            return GoneError(f"there is no such queue in {self.address.shown}")
        return CollectorError(f"SQS in {self.address.shown} refused {action.replace('_', ' ')}: {code} {words}")

    async def queue_urls(self) -> list[str]:
        """The queues of our prefix, or those that the operator named. A named one that is not there is left out."""
        if self.address.queues:
            found = await asyncio.gather(*(self.url_of(name) for name in self.address.queues))
            return [url for url in found if url is not None]
        urls: list[str] = []
        more: dict[str, Any] = {"QueueNamePrefix": self.address.prefix} if self.address.prefix else {}
        while True:
            answer = await self.ask("list_queues", MaxResults=PAGE, **more)
            urls += answer.get("QueueUrls") or []
            if not answer.get("NextToken"):
                return urls
            more["NextToken"] = answer["NextToken"]

    async def url_of(self, name: str) -> str | None:
        """A queue's URL, or None when there is no such queue."""
        try:
            return str((await self.ask("get_queue_url", QueueName=name))["QueueUrl"])
        except GoneError:
            return None

    async def attributes(self, url: str) -> dict[str, str] | None:
        """All attributes of a queue; None when it is gone."""
        try:
            found = await self.ask("get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        except GoneError:
            return None
        return {str(name): str(value) for name, value in (found.get("Attributes") or {}).items()}

    async def sources_of(self, url: str) -> list[str]:
        """The queues whose redrive policy names this one."""
        urls: list[str] = []
        more: dict[str, Any] = {}
        while True:
            answer = await self.ask("list_dead_letter_source_queues", QueueUrl=url, MaxResults=PAGE, **more)
            urls += answer.get("queueUrls") or []
            if not answer.get("NextToken"):
                return urls
            more["NextToken"] = answer["NextToken"]

    async def ages(self, names: Sequence[str], now: datetime) -> dict[str, tuple[datetime, float]]:
        """CloudWatch's newest figure of each queue: when it was taken, and how old its oldest message was then."""
        found: dict[str, tuple[datetime, float]] = {}
        for start in range(0, len(names), METRICS_AT_ONCE):
            part = names[start : start + METRICS_AT_ONCE]
            answer = await self.ask(
                "get_metric_data",
                service="cloudwatch",
                StartTime=now - AGE_WINDOW,
                EndTime=now,
                MetricDataQueries=[_age_of(number, name) for number, name in enumerate(part)],
            )
            for result in answer.get("MetricDataResults") or []:
                figures = sorted(zip(result.get("Timestamps") or [], result.get("Values") or [], strict=False))
                if figures and str(result.get("Id", "")).startswith("q"):
                    found[part[int(result["Id"][1:])]] = figures[-1]
        return found


@cache
def _descriptions() -> Any:
    """The descriptions of AWS's services, which take a while to read: once for all sources and connections."""
    return botocore.loaders.create_loader()


def _age_of(number: int, name: str) -> dict[str, Any]:
    metric = {
        "Namespace": "AWS/SQS",
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": name}],
    }
    return {"Id": f"q{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}}
