"""What the handlers of this domain work with: `run.context`."""

from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from smtplib import SMTP

import httpx


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in."""

    host: str
    port: int

    def send(self, message: Message) -> None:
        with SMTP(self.host, self.port, local_hostname="localhost", timeout=10) as smtp:
            smtp.send_message(message)


@dataclass(frozen=True, slots=True)
class Services:
    server: MailServer
    documents: Path
    app: httpx.AsyncClient
    """The push service of the shop's app for telephones."""
