"""When members are news."""

from datetime import UTC, datetime, timedelta

from collectors.members import MemberNews
from eventflow.domain.observations import GroupMember, GroupMembers

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def found(second: float, *members: GroupMember, **more: str) -> GroupMembers:
    told = tuple(more.items())
    return GroupMembers("shop", "redis", "payment", NOW + timedelta(seconds=second), members, "orders", told)


def test_a_member_that_came_is_told_at_once_and_what_it_holds_only_now_and_then() -> None:
    news = MemberNews()
    assert news.is_news(found(0, GroupMember("one", in_flight=1)))
    assert not news.is_news(found(1, GroupMember("one", in_flight=2)))
    assert news.is_news(found(2, GroupMember("one", in_flight=2), GroupMember("two")))
    assert not news.is_news(found(11, GroupMember("one", in_flight=3), GroupMember("two")))
    assert news.is_news(found(12, GroupMember("one", in_flight=3), GroupMember("two")))
    assert not news.is_news(found(60, GroupMember("one", in_flight=3), GroupMember("two")))


def test_moments_counted_back_from_ages_may_tremble() -> None:
    news, at = MemberNews(), NOW
    assert news.is_news(found(0, GroupMember("one", active_at=at)))
    assert not news.is_news(found(20, GroupMember("one", active_at=at + timedelta(seconds=1))))
    assert news.is_news(found(40, GroupMember("one", active_at=at + timedelta(seconds=30))))


def test_what_is_told_of_all_readers_is_news_when_it_changed_and_groups_that_are_gone_are_forgotten() -> None:
    news = MemberNews()
    assert news.is_news(found(0, pulls="1"))
    assert not news.is_news(found(5, pulls="2"))
    assert news.is_news(found(10, pulls="2"))
    news.forget(keep=[("payment", "elsewhere")])
    assert news.is_news(found(11, pulls="2"))
