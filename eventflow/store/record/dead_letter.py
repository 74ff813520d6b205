"""Records dead letters: one row per letter however often it is offered, grouped by cause.

A letter that carries a replay's token proves that this replay failed again. Never touches the broker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from eventflow.domain import replay as ledger
from eventflow.domain.fingerprint import Fingerprint, fingerprint
from eventflow.domain.observations import DeadLetter as Observed
from eventflow.store.models import DeadLetter, DeadLetterGroup, ReplayItem
from eventflow.store.record import flow_refresh
from eventflow.store.record import replay as replays

Identity = tuple[str, str, str]


def flow_key(letter: DeadLetter) -> str:
    """The flow a letter belongs to: its correlation id, else its trace."""
    return letter.correlation_id or letter.trace_id


def record(letters: Sequence[Observed], now: datetime) -> set[str]:
    """Keep `letters` and say what changed. Costs six queries a call, plus two for each replay that came back."""
    storable = map(_without_nul, letters)
    fresh = {(letter.source, letter.location, letter.position): letter for letter in storable}
    if not fresh:
        return set()
    with transaction.atomic():
        for known in _known(fresh):
            del fresh[known]
        if not fresh:
            return set()
        causes = {identity: fingerprint(letter) for identity, letter in fresh.items()}
        groups = _groups(fresh, causes)
        parents = _parents(fresh.values())
        rows = []
        for identity, letter in fresh.items():
            parent = parents.get(letter.replay_token or "")
            rows.append(_row(letter, groups[causes[identity].digest], parent))
        DeadLetter.objects.bulk_create(rows, ignore_conflicts=True)
        topics = {"dead-letters"} | {f"flow:{key}" for row in rows if (key := flow_key(row))}
        for row in rows:
            if row.replay_token in parents:
                item = parents[row.replay_token]
                where = f"{row.location} {row.position}"
                topics |= replays.observe(item.pk, ledger.Returned(row.failed_at, where), now)
    flow_refresh.refresh((flow_key(row) for row in rows), now)
    return topics


def _known(fresh: Iterable[Identity]) -> set[Identity]:
    wanted = set(fresh)
    found = DeadLetter.objects.filter(
        source__in={source for source, _, _ in wanted},
        location__in={location for _, location, _ in wanted},
        position__in={position for _, _, position in wanted},
    ).values_list("source", "location", "position")
    return wanted & set(found)


def _groups(fresh: dict[Identity, Observed], causes: dict[Identity, Fingerprint]) -> dict[str, DeadLetterGroup]:
    """The group of every fingerprint, made where it is new, its times widened."""
    first: dict[str, datetime] = {}
    last: dict[str, datetime] = {}
    sample: dict[str, Identity] = {}
    for identity, letter in fresh.items():
        digest, at = causes[identity].digest, letter.failed_at or letter.captured_at
        first[digest] = min(at, first.get(digest, at))
        last[digest] = max(at, last.get(digest, at))
        sample.setdefault(digest, identity)
    made = [
        DeadLetterGroup(
            fingerprint=digest,
            title=causes[identity].title,
            error_type=causes[identity].error_type[:300],
            sample_message=causes[identity].message,
            frame=causes[identity].frame[:300],
            destination=(fresh[identity].destination or "")[:300],
            consumer_group=(fresh[identity].group or "")[:300],
            service=(fresh[identity].service or "")[:200],
            location=fresh[identity].location[:300],
            first_at=first[digest],
            last_at=last[digest],
        )
        for digest, identity in sample.items()
    ]
    DeadLetterGroup.objects.bulk_create(made, ignore_conflicts=True)
    groups = {group.fingerprint: group for group in DeadLetterGroup.objects.filter(fingerprint__in=list(sample))}
    moved = []
    for digest, group in groups.items():
        if first[digest] < group.first_at or last[digest] > group.last_at:
            group.first_at, group.last_at = min(first[digest], group.first_at), max(last[digest], group.last_at)
            moved.append(group)
    DeadLetterGroup.objects.bulk_update(moved, ["first_at", "last_at"])
    return groups


def _parents(letters: Iterable[Observed]) -> dict[str, ReplayItem]:
    tokens = {letter.replay_token for letter in letters if letter.replay_token}
    if not tokens:
        return {}
    return {item.token: item for item in ReplayItem.objects.filter(token__in=tokens).select_related("letter")}


def _row(letter: Observed, group: DeadLetterGroup, parent: ReplayItem | None) -> DeadLetter:
    """Text longer than its column is cut; headers, payload, message and stack are kept whole."""
    payload = letter.payload
    return DeadLetter(
        source=letter.source,
        system=letter.system,
        location=letter.location,
        position=letter.position,
        group=group,
        destination=(letter.destination or "")[:300],
        consumer_group=(letter.group or "")[:300],
        service=(letter.service or "")[:200],
        message_id=(letter.message_id or "")[:300],
        correlation_id=(letter.correlation_id or "")[:300],
        trace_id=(letter.trace_id or "")[:32],
        span_id=(letter.span_id or "")[:16],
        event_type=(letter.event_type or "")[:300],
        key=(letter.key or "")[:300],
        headers=[list(pair) for pair in letter.headers],
        payload=payload,
        payload_size=letter.payload_size if letter.payload_size is not None or payload is None else len(payload),
        payload_note=(letter.payload_note or "")[:300],
        content_type=(letter.content_type or "")[:200],
        error_type=(letter.error_type or "")[:300],
        error_message=letter.error_message or "",
        stack=letter.stack or "",
        attempts=letter.attempts,
        published_at=letter.published_at,
        failed_at=letter.failed_at or letter.captured_at,
        captured_at=letter.captured_at,
        convention=(letter.convention or "")[:100],
        evidence=dict(letter.evidence),
        replay_token=(letter.replay_token or "")[:64],
        replay_count=parent.letter.replay_count + 1 if parent else 0,
    )


def _storable(text: str) -> str:
    """PostgreSQL's text holds no NUL."""
    return text.replace("\x00", "␀")


def _without_nul(letter: Observed) -> Observed:
    """The letter as both databases can hold it, headers and evidence too. The payload stays as it was sent."""
    texts = {field.name: getattr(letter, field.name) for field in fields(letter)}
    odd: dict[str, Any] = {
        name: _storable(text) for name, text in texts.items() if isinstance(text, str) and "\x00" in text
    }
    headers = tuple((_storable(name), _storable(value)) for name, value in letter.headers)
    evidence = {_storable(name): _storable(value) for name, value in letter.evidence.items()}
    return replace(letter, **odd, headers=headers, evidence=evidence)


def archive(pks: Sequence[int], reason: str, now: datetime) -> tuple[int, set[str]]:
    """Put open letters aside, with the reason. Those being replayed stay. Returns how many, and the news."""
    return _move(pks, "open", "archived", reason, now)


def restore(pks: Sequence[int], now: datetime) -> tuple[int, set[str]]:
    """Bring archived letters back."""
    return _move(pks, "archived", "open", "", now)


def _move(pks: Sequence[int], old: str, new: str, reason: str, now: datetime) -> tuple[int, set[str]]:
    with transaction.atomic():
        letters = list(
            DeadLetter.objects.select_for_update().filter(pk__in=pks, status=old).defer("payload", "headers", "stack")
        )
        moved = [letter.pk for letter in letters]
        DeadLetter.objects.filter(pk__in=moved, status=old).update(status=new, status_reason=reason[:300])
    keys = {flow_key(letter) for letter in letters} - {""}
    flow_refresh.refresh(keys, now)
    topics = {"dead-letters"} | {f"dead-letter:{pk}" for pk in moved} | {f"flow:{key}" for key in keys}
    return len(moved), topics if moved else set()


def enrich(
    pk: int, *, service: str = "", error_type: str = "", error_message: str = "", stack: str = "", evidence: str
) -> set[str]:
    """Fill what a letter's headers left empty from the span that failed; what is there already stays.

    The letter may then belong to another cause, and moves there.
    """
    letter = DeadLetter.objects.defer("payload", "headers").get(pk=pk)
    filled = []
    for name, value in (
        ("service", service),
        ("error_type", error_type),
        ("error_message", error_message),
        ("stack", stack),
    ):
        if value and not getattr(letter, name):
            room = {"service": 200, "error_type": 300}.get(name)
            setattr(letter, name, _storable(value)[:room])
            letter.evidence[name] = evidence
            filled.append(name)
    if not filled:
        return set()
    with transaction.atomic():
        old = letter.group_id
        letter.group = _group_of(letter)
        letter.save(update_fields=[*filled, "evidence", "group"])
        if letter.group_id != old and not DeadLetter.objects.filter(group=old).exists():
            DeadLetterGroup.objects.filter(pk=old, note="").delete()
    return {"dead-letters", f"dead-letter:{pk}"}


def _group_of(letter: DeadLetter) -> DeadLetterGroup:
    observed = Observed(
        source=letter.source,
        system=letter.system,
        location=letter.location,
        position=letter.position,
        captured_at=letter.captured_at,
        failed_at=letter.failed_at,
        destination=letter.destination or None,
        group=letter.consumer_group or None,
        service=letter.service or None,
        error_type=letter.error_type or None,
        error_message=letter.error_message or None,
        stack=letter.stack or None,
    )
    identity = (letter.source, letter.location, letter.position)
    cause = fingerprint(observed)
    return _groups({identity: observed}, {identity: cause})[cause.digest]
