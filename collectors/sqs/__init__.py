"""Amazon SQS: queues, what waits, is in flight or delayed in each, redrive policies; looked at by attributes only.

URLs: `sqs://eu-central-1` with the usual chain of AWS credentials, `sqs://KEY:SECRET@eu-central-1` (percent-encoded),
`?profile=` names one; `sqs://eu-central-1/shop-` looks at queues of that prefix, `?queues=a+b` at those alone.
`?take=dlq+other-dlq` takes letters out of these dead-letter queues and keeps them, `?age=cloudwatch` asks CloudWatch
how old the oldest message is, `?every=10` is the seconds between two looks (30), `?endpoint=http://host:port` is for
what speaks SQS elsewhere. Rights that suffice: `sqs:ListQueues`, `sqs:GetQueueAttributes`,
`sqs:ListDeadLetterSourceQueues`.
"""

from collections.abc import Mapping, Sequence

from collectors.sqs.collector import POLL_SECONDS, SqsCollector
from collectors.sqs.replay import SqsReplayer

__all__ = ["SqsCollector", "SqsReplayer", "collector", "replayer"]


def collector(
    name: str,
    url: str,
    seconds: float = POLL_SECONDS,
    *,
    correlation_keys: Sequence[str] = (),
    resume: Mapping[str, int] | None = None,
) -> SqsCollector:
    """The collector of source `name`. There is nothing to resume: what is taken is gone from the queue."""
    return SqsCollector(name, url, seconds, correlation_keys=correlation_keys)


replayer = SqsReplayer
