"""The past of lag as an alert rule sees it: readings of whole histories at once, and the few moments that matter.

Told of a run of equal readings are its first moments, for as long as any rule waits, its worst and its last: what lies
between changes no rule's mind. That `readings` are those of `domain.alert.read` a test proves.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from eventflow.domain import alert, lag
from eventflow.domain.alert import Kind, Measurement, Reading, Rule
from eventflow.domain.alert_backtest import Moment
from eventflow.domain.lag import LagStatus
from eventflow.store.lag_hours import MARGIN
from eventflow.store.lag_pack import TENTHS, Floats, Lags, moment
from eventflow.store.spans.columns import Array, Flags, Ints

CLEAR, BETWEEN, BREACH, UNKNOWN = range(4)
READINGS: Final = (Reading.CLEAR, Reading.BETWEEN, Reading.BREACH, Reading.UNKNOWN)
SHARES: Mapping[Kind, str] = {Kind.RETENTION: "kept_share", Kind.SKEW: "skew"}
GAP_SECONDS = 180.0
"""Without a look for longer than this nothing was seen."""


def broken(rule: Rule, worst: Mapping[str, Array]) -> Array:
    """Where a rule may be broken, told from the worst of some time: never too seldom."""
    if rule.kind == Kind.STOPPED:
        return worst["status"] >= min(lag.RANK[LagStatus.STOPPED], lag.RANK[LagStatus.STALLED])
    if rule.kind == Kind.DRIFTING:
        return worst["status"] >= lag.RANK[LagStatus.DRIFTING]
    if rule.kind == Kind.RETENTION:
        return worst["kept_share"] > _limit(rule) * MARGIN
    if rule.kind == Kind.SKEW:
        return (worst["skew"] > _limit(rule) * MARGIN) & (worst["ready"] > (rule.messages or 0) * MARGIN)
    limits = (("age_seconds", rule.seconds), ("ready", rule.messages))
    found = np.zeros(worst["ready"].shape, bool)
    for name, limit in limits:
        if limit is not None:
            found |= worst[name] > limit * MARGIN
    return found


def columns(rules: Collection[Rule]) -> tuple[str, ...]:
    """What has to be read for these rules."""
    return ("ready", "age_seconds", "status", *{SHARES[rule.kind] for rule in rules if rule.kind in SHARES})


def readings(rule: Rule, lags: Lags) -> Ints:
    """Each look against the rule, as places in `READINGS`."""
    ready, status = lags["ready"], lags["status"]
    seconds = np.where(ready == 0, 0.0, lags["age_seconds"])
    if rule.kind == Kind.STOPPED:
        young = False if rule.seconds is None else seconds <= rule.seconds
        found = np.where(_is(status, LagStatus.STOPPED, LagStatus.STALLED), np.where(young, BETWEEN, BREACH), CLEAR)
    elif rule.kind == Kind.DRIFTING:
        found = np.where(_is(status, LagStatus.DRIFTING), BREACH, CLEAR)
    elif rule.kind == Kind.RETENTION:
        found = _against(np.nan_to_num(lags["kept_share"]), _limit(rule), rule.recover_ratio)
    elif rule.kind == Kind.SKEW:
        share = _against(lags["skew"], _limit(rule), rule.recover_ratio)
        found = np.where(np.nan_to_num(ready) <= (rule.messages or 0), CLEAR, share)
    else:
        found = _lag(rule, seconds, ready)
    unseen = np.isnan(ready) | _is(status, LagStatus.UNKNOWN, LagStatus.ABANDONED)
    return np.where(unseen, UNKNOWN, found)


def _lag(rule: Rule, seconds: Floats, ready: Floats) -> Ints:
    parts = [
        _against(values, limit, rule.recover_ratio)
        for values, limit in ((seconds, rule.seconds), (ready, rule.messages))
        if limit is not None
    ]
    found = np.full(len(ready), CLEAR)
    for reading in (BETWEEN, UNKNOWN, BREACH):
        for part in parts:
            found[part == reading] = reading
    return found


def _limit(rule: Rule) -> float:
    return alert.SHARES[rule.kind] if rule.share is None else rule.share


def _against(values: Floats, limit: float, ratio: float) -> Ints:
    found = np.where(values > limit, BREACH, np.where(values <= limit * ratio, CLEAR, BETWEEN))
    found[np.isnan(values)] = UNKNOWN
    return found


def _is(status: Floats, *words: LagStatus) -> Flags:
    found: Flags = np.isin(status, [lag.RANK[word] for word in words])
    return found


def value(rule: Rule, lags: Lags) -> Floats:
    """The number of which an alert tells the worst, as `domain.alert.value_of` has it."""
    if rule.kind in SHARES:
        return lags[SHARES[rule.kind]]
    if rule.kind == Kind.STOPPED or (rule.kind == Kind.LAG and rule.seconds is not None):
        return np.where(lags["ready"] == 0, 0.0, lags["age_seconds"])
    return lags["ready"]


@dataclass(frozen=True, slots=True)
class Past:
    """Of all looks at one group those that matter."""

    lags: Lags
    gaps: Flags
    """Before which of them nothing was seen for long."""

    def moments(self, empty: Measurement) -> Iterator[Moment]:
        """`empty`: the group without its numbers. Time out of sight is told as such."""
        found = self.lags
        ready, age, status = (found[name].tolist() for name in ("ready", "age_seconds", "status"))
        kept, skew = (
            found[name].tolist() if name in found.columns else [None] * len(found) for name in ("kept_share", "skew")
        )
        unseen, named = replace(empty, known=False), (empty.subject, empty.label, empty.names)
        before = 0
        for number, (at, gap) in enumerate(zip(found.at.tolist(), self.gaps.tolist(), strict=True)):
            if gap:
                yield moment(before + int(GAP_SECONDS * TENTHS)), unseen
                yield moment(at), unseen
            before = at
            waits, word = ready[number], _known(status[number])
            status_then = None if word is None else lag.BY_RANK[int(word)]
            yield (
                moment(at),
                Measurement(
                    *named,
                    known=_known(waits) is not None and status_then not in (LagStatus.UNKNOWN, LagStatus.ABANDONED),
                    messages=None if _known(waits) is None else int(waits),
                    seconds=0.0 if waits == 0 else _known(age[number]),
                    place=empty.place,
                    status=status_then or "",
                    shares={Kind.RETENTION: _known(kept[number]), Kind.SKEW: _known(skew[number])},
                ),
            )


def _known(number: float | None) -> float | None:
    return None if number is None or number != number else number  # noqa: PLR0124  # NaN is what differs from itself


def past(rule: Rule, stops: Sequence[Rule], lags: Lags) -> Past:
    """`stops`: the rules for stopped groups that may hold this one back."""
    rules = [rule, *stops]
    seen = [readings(one, lags) for one in rules]
    gap = np.zeros(len(lags), bool)
    gap[1:] = np.diff(lags.at) > GAP_SECONDS * TENTHS
    fresh = gap.copy()
    fresh[:1] = True
    for found in seen:
        fresh[1:] |= found[1:] != found[:-1]
    begins = np.flatnonzero(fresh)
    run = np.cumsum(fresh) - 1
    waits = [max(one.for_seconds, one.recover_seconds) for one in rules]
    # A stop ends first, then the rule begins to wait: each at the next look, which may be late.
    patience = waits[0] + max(waits[1:], default=0.0) + 2 * GAP_SECONDS
    told = lags.at - lags.at[begins][run] <= patience * TENTHS
    told[np.append(begins[1:], len(lags)) - 1] = True
    worth = np.nan_to_num(value(rule, lags), nan=-1.0)
    greatest = np.flatnonzero(worth == np.maximum.reduceat(worth, begins)[run])
    told[greatest[np.unique(run[greatest], return_index=True)[1]]] = True
    kept = np.flatnonzero(told)
    return Past(lags.cut(kept), gap[kept])
