"""How one claim divides the room of a queue between its lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remit.catalog.policies import LAST_PRIORITY
from remit.execution.model import Allotment


def even(queue: str, lines: Sequence[int], room: int) -> list[Allotment]:
    """The same for each line, without looking at what they hold: right while there is room for everything."""
    quota = room // len(lines)
    return [Allotment(line, queue, quota) for line in lines] if quota else []


def by_priority(queue: str, heads: Mapping[int, int], room: int, turn: int) -> list[Allotment]:
    """The room goes to the lines whose heads have the best priority, in equal parts.

    They may take no job that another line's head comes before. `turn` moves on with each claim, and says which lines
    get what does not divide evenly.
    """
    if not heads or room <= 0:
        return []
    best = min(heads.values())
    leading = sorted(line for line, priority in heads.items() if priority == best)
    behind = [priority for priority in heads.values() if priority > best]
    ceiling = best if len(leading) > 1 else min(behind) - 1 if behind else LAST_PRIORITY
    first = turn % len(leading)
    quota, rest = divmod(room, len(leading))
    order = leading[first:] + leading[:first]
    quotas = {line: quota + (place < rest) for place, line in enumerate(order)}
    return [Allotment(line, queue, quotas[line], ceiling) for line in order if quotas[line]]
