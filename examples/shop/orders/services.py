"""What the handlers of this domain work with: `run.context`."""

from dataclasses import dataclass

from shop.database import Database


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
