"""OffsetFetch in bytes: what the protocol's own description, as aiokafka writes and reads it, makes of them."""

from io import BytesIO

from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from collectors.kafka.group_requests import FetchCommits, ListGroups

TEXT, TAGS = CompactString("utf-8"), ("tags", TaggedFields)
PARTITION = CompactArray(
    ("number", Int32), ("offset", Int64), ("epoch", Int32), ("words", TEXT), ("error", Int16), TAGS
)
TOPICS = CompactArray(("topic", TEXT), ("partitions", PARTITION), TAGS)
ANSWER = Schema(
    ("throttle", Int32), ("groups", CompactArray(("name", TEXT), ("topics", TOPICS), ("error", Int16), TAGS)), TAGS
)
ASKED = Schema(
    ("groups", CompactArray(("name", TEXT), ("topics", CompactArray(("topic", TEXT), TAGS)), TAGS)),
    ("stable", Boolean),
    TAGS,
)


def test_every_group_is_asked_for_in_one_request() -> None:
    names = ["billing", "zahlung-ä", "n" * 300]
    asked = FetchCommits(names).prepare({9: (1, 10)}).encode()
    assert ASKED.decode(BytesIO(asked)) == ([(name, None, {}) for name in names], False, {})


def test_commits_are_read_with_and_without_words_beside_them() -> None:
    plain = [(number, 2**40 + number, -1, "", 0, {}) for number in range(200)]
    # A tag is its number, its length and its bytes: aiokafka forgets to write the length.
    others = [(0, 7, 3, None, 0, {}), (1, -1, -1, "", 0, {}), (2, 8, -1, "said by the consumer" * 20, 0, {}),
              (3, 9, -1, "", 29, {}), (4, 10, -1, "", 0, {1: b"\x03new"}), (5, 11, -1, "", 0, {})]  # fmt: skip
    groups = [
        ("billing", [("orders", plain, {}), ("zahlungen-ä", others, {})], 0, {}),
        ("refused", [], 30, {}),
        ("tagged", [("orders", plain[:1], {2: b"\x01x"})], 0, {3: b"\x02yy"}),
    ]
    raw = ANSWER.encode((0, groups, {}))
    told = FetchCommits([]).prepare({9: (1, 8)}).RESPONSE_TYPE.decode(raw)
    assert told.size == len(raw)
    assert [(group.group, group.error) for group in told.groups] == [("billing", 0), ("refused", 30), ("tagged", 0)]
    assert told.groups[0].topics == [
        ("orders", [(number, 2**40 + number) for number in range(200)]),
        ("zahlungen-ä", [(0, 7), (2, 8), (4, 10), (5, 11)]),
    ]
    assert told.groups[2].topics == [("orders", [(0, 2**40)])]


def test_groups_are_listed_with_their_kind_where_the_broker_knows_kinds() -> None:
    assert ListGroups().prepare({16: (0, 5)}).encode() == b"\1\1\0"
    assert ListGroups().prepare({16: (0, 4)}).encode() == b"\1\0"
