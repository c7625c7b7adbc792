"""What may differ from one installation to the next, each from an environment variable: `SHOP_DATABASE_URL` …"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import msgspec

PREFIX = "SHOP_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    database_url: str = "sqlite:///shop.db"
    job_schema: str = "remit"
    """The PostgreSQL schema of remit's tables."""
    lease: float = 30.0
    """Seconds after which a silent worker's jobs go to another."""
    retry_after: float = 5.0
    """Seconds until the second attempt of a job that failed; they double with each further one."""

    return_period: float = 14 * 86_400.0
    """Seconds for which what was ordered by phone can be returned."""

    documents: Path = Path("var/documents")
    reports: Path = Path("var/reports")
    mail_host: str = "localhost"
    mail_port: int = 25
    warehouse_url: str = "http://localhost:9000"
    warehouse_timeout: float = 10.0
    push_url: str = "http://localhost:9001"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read what is set; an error names the setting."""
        names = {f"{PREFIX}{field.name.upper()}": field.name for field in fields(cls)}
        given = {name: environment[variable] for variable, name in names.items() if variable in environment}
        return msgspec.convert(given, cls, strict=False, dec_hook=lambda kind, text: kind(text))

    def as_environment(self) -> dict[str, str]:
        """The variables that `from_environment` reads back."""
        return {f"{PREFIX}{field.name.upper()}": str(getattr(self, field.name)) for field in fields(self)}
