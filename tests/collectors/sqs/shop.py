"""The application that tests watch: queues with redrive policies on a server that speaks SQS, used through botocore."""

import json
from collections.abc import Mapping
from typing import Any

import botocore.session

from tests.services import SqsServer


class Shop:
    """Blocking on purpose: tests call it in threads where a loop runs."""

    def __init__(self, server: SqsServer) -> None:
        self.server = server
        self.session = botocore.session.Session()
        self.session.set_credentials("key", "s3cret")
        self.sqs = self.client("sqs")

    def client(self, service: str) -> Any:
        return self.session.create_client(service, region_name="eu-central-1", endpoint_url=self.server.endpoint)

    def queue(self, name: str, *, dead_letters: str = "", max_receives: int = 3, **attributes: str) -> str:
        if dead_letters:
            target = f"arn:aws:sqs:eu-central-1:123456789012:{dead_letters}"
            policy = {"deadLetterTargetArn": target, "maxReceiveCount": max_receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        return str(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def send(self, queue: str, count: int = 1, attributes: Mapping[str, Any] = {}, **more: Any) -> list[str]:
        """The message ids. `attributes`: name → a botocore attribute, or text."""
        told = {
            name: value if isinstance(value, dict) else {"DataType": "String", "StringValue": value}
            for name, value in attributes.items()
        }
        return [
            str(self.sqs.send_message(QueueUrl=queue, MessageBody=f"{n}", MessageAttributes=told, **more)["MessageId"])
            for n in range(count)
        ]

    def receive(self, queue: str, count: int = 10, **more: Any) -> list[Any]:
        answer = self.sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=count, AttributeNames=["All"], MessageAttributeNames=["All"], **more
        )
        return list(answer.get("Messages") or [])

    def urls(self) -> dict[str, str]:
        return {url.rpartition("/")[2]: url for url in self.sqs.list_queues().get("QueueUrls") or []}

    def attributes(self, url: str) -> dict[str, str]:
        return dict(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Visible, in flight and delayed of every queue."""
        found = {}
        for name, url in self.urls().items():
            told = self.attributes(url)
            kinds = ("", "NotVisible", "Delayed")
            visible, hidden, delayed = (int(told[f"ApproximateNumberOfMessages{kind}"]) for kind in kinds)
            found[name] = (visible, hidden, delayed)
        return found

    def everything(self) -> dict[str, dict[str, str]]:
        return {name: self.attributes(url) for name, url in self.urls().items()}
