"""The log of events, read from time to time: what was published, by name, and what of it a subscription wants."""

import json
from collections import Counter

from remit import EventRecord, Remit, SubscriptionRecord

PAGE = 500


class EventLog:
    """`app.events` answers pages, newest first; those that were read before are not read again."""

    def __init__(self, app: Remit) -> None:
        self._app = app
        self._seen: set[str] = set()
        self._kinds: Counter[tuple[str, str]] = Counter()
        """How many events, by name and by the channel that their payload names."""
        self._pending: Counter[tuple[str, str]] = Counter()

    async def read(self, *, whole: bool = False) -> None:
        """Take in what is new; with `whole`, look at every page, since an event may commit late."""
        after: str | None = None
        while True:
            page = await self._app.events.list(limit=PAGE, after=after)
            fresh = [event for event in page.events if event.id not in self._seen]
            self._kinds.update(_kind(event) for event in fresh)
            self._seen.update(event.id for event in fresh)
            after = page.after
            if after is None or not (fresh or whole):
                break
        waiting = await self._app.events.list(state="pending", limit=1000)
        self._pending = Counter(_kind(event) for event in waiting.events)

    @property
    def total(self) -> int:
        return len(self._seen)

    def by_name(self) -> Counter[str]:
        """How many events were published, by name."""
        names: Counter[str] = Counter()
        for (name, _), count in self._kinds.items():
            names[name] += count
        return names

    def wanted_by(self, subscription: SubscriptionRecord) -> int:
        """How many deliveries the relay has made for a subscription."""
        condition = subscription.conditions.get(1, {}).get("channel")
        return sum(
            count - self._pending[name, channel]
            for (name, channel), count in self._kinds.items()
            if name in subscription.events and (condition is None or json.dumps(channel) in condition)
        )


def _kind(event: EventRecord) -> tuple[str, str]:
    return event.name, str(event.payload.get("channel", ""))
