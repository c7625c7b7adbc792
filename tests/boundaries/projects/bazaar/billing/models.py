from dataclasses import dataclass


@dataclass
class Row:
    """An entity because of where it stands."""

    number: int
