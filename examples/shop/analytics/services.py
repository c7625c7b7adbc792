"""What the handlers of this domain work with: `run.context`."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from shop.database import Database


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    reports: Path

    def report_file(self, day: date) -> Path:
        return self.reports / f"{day.isoformat()}.json"
