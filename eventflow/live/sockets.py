"""The live socket: tells a page which of the topics it shows have changed. Logged-in people only; carries no content.

The page sends ``{"show": ["lag", "flow:abc"]}`` (whenever what it shows changes) and ``{"ping": n}``; it gets
``{"news": [...]}``, ``{"stale": true}`` and ``{"pong": n}``.
"""

import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

from eventflow.live.fanout import Viewer, fanout

MAX_TOPICS = 64
MAX_TOPIC_LENGTH = 400
MAX_FRAME = 32_768
POLICY_VIOLATION = 1008
UNAUTHENTICATED = 4401


class LiveSocket(AsyncWebsocketConsumer):
    """One browser tab."""

    viewer: Viewer | None = None

    async def connect(self) -> None:
        user = self.scope.get("user")
        await self.accept()
        if user is None or not user.is_authenticated:
            await self.close(code=UNAUTHENTICATED)
            return
        self.viewer = Viewer(lambda frame: self.send(text_data=frame))
        fanout().add(self.viewer)

    async def disconnect(self, code: int) -> None:
        if self.viewer:
            await fanout().remove(self.viewer)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = self._parse(text_data)
        if message is None or self.viewer is None:
            await self.close(code=POLICY_VIOLATION)
            return
        if "show" in message:
            self.viewer.topics = frozenset(message["show"])
        if "ping" in message:
            await self.send(text_data=json.dumps({"pong": message["ping"]}))

    @staticmethod
    def _parse(text: str | None) -> dict[str, Any] | None:
        if text is None or len(text) > MAX_FRAME:
            return None
        try:
            message = json.loads(text)
        except ValueError:
            return None
        if not isinstance(message, dict):
            return None
        show = message.get("show", [])
        fine = isinstance(show, list) and len(show) <= MAX_TOPICS
        if not fine or not all(isinstance(topic, str) and len(topic) <= MAX_TOPIC_LENGTH for topic in show):
            return None
        if not isinstance(message.get("ping", 0), int):
            return None
        return message
