"""Names the service behind a consumer group, as its spans do."""

from collections.abc import Mapping

from eventflow.store.models import ConsumerGroup


def name_services(seen: Mapping[tuple[str, str, str], str]) -> int:
    """Set the service of the groups that (system, destination, group) names. Returns how many were new or changed.

    A group is known by its name: the broker may call its destination by a filter where spans name the subject.
    """
    named = {(system, group): service for (system, _, group), service in sorted(seen.items())}
    rows = ConsumerGroup.objects.filter(name__in={group for _, group in named})
    changed = 0
    for pk, system, name, service in rows.values_list("pk", "system", "name", "service"):
        found = named.get((system, name), service)[:200]
        if found != service:
            changed += ConsumerGroup.objects.filter(pk=pk).update(service=found)
    return changed
