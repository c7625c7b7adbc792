"""What the handlers of this domain work with: `run.context`."""

from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Services:
    warehouse: httpx.AsyncClient
