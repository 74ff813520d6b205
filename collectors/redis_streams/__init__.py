"""Redis Streams: streams, consumer groups' lag and pending entries, dead-letter streams, read without touching them.

URLs: `redis-streams://host:6379/0`, `redis-streams://user:password@host:6379/0`, with TLS `rediss-streams://…`
(`?ca=/path/ca.pem` for a private authority); `?streams=a+b` names the streams where SCAN is not wished for.
One server a source: of a cluster, each primary is a source of its own. Rights that suffice:
`+scan +xinfo +xpending +xrange +info` on the streams' keys, and `+xadd` for replays.
"""

from collectors.redis_streams.collector import RedisStreamsCollector
from collectors.redis_streams.replay import RedisStreamsReplayer

__all__ = ["RedisStreamsCollector", "RedisStreamsReplayer", "collector", "replayer"]

collector = RedisStreamsCollector
replayer = RedisStreamsReplayer
