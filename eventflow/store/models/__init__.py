"""The tables, one module per noun. Meaning lives in the domain; models only hold and constrain."""

from eventflow.store.models.alert import AlertRule, Incident, NotificationChannel, Silence
from eventflow.store.models.dead_letter import DeadLetter, DeadLetterGroup
from eventflow.store.models.import_job import ImportJob
from eventflow.store.models.instrumentation import LibraryCount
from eventflow.store.models.lag import ConsumerGroup, Destination, LagPack, LagPoint, PartitionMinute, Rebalance
from eventflow.store.models.replay import Replay, ReplayItem
from eventflow.store.models.source import BlindSpell, ConnectionTest, Source, SourceSetting
from eventflow.store.models.spans import (
    Chunk,
    Edge,
    EdgeSlot,
    FlowPattern,
    FlowRow,
    Generation,
    Inbox,
    IndexFilter,
    IndexPage,
    IndexRun,
    Rejected,
)

__all__ = [
    "AlertRule",
    "BlindSpell",
    "Chunk",
    "ConnectionTest",
    "ConsumerGroup",
    "DeadLetter",
    "DeadLetterGroup",
    "Destination",
    "Edge",
    "EdgeSlot",
    "FlowPattern",
    "FlowRow",
    "Generation",
    "ImportJob",
    "Inbox",
    "Incident",
    "IndexFilter",
    "IndexPage",
    "IndexRun",
    "LagPack",
    "LagPoint",
    "LibraryCount",
    "NotificationChannel",
    "PartitionMinute",
    "Rebalance",
    "Rejected",
    "Replay",
    "ReplayItem",
    "Silence",
    "Source",
    "SourceSetting",
]
