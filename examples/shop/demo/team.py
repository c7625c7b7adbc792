"""The processes of the demo: each in the guard's group, each with a log, ended by its own pid."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Mapping
from pathlib import Path

from shop.demo.refusal import Refusal

LAST_LINES = 15


class Child:
    """One process."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self.log = log
        self.leaving = False
        """Whether it was told to end, so that its end is no surprise."""
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """`kill -9`."""
        self.leaving = True
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self, patience: float) -> None:
        """Ask it to end, and make it after a while."""
        self.leaving = True
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    @property
    def status(self) -> int | None:
        return self._process.returncode

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])


class Team:
    """All of them."""

    def __init__(self, folder: Path, group: int) -> None:
        self.members: list[Child] = []
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._group = group
        self._workers = 0

    async def start_worker(self, environment: Mapping[str, str]) -> Child:
        """One more worker, as a user would start it."""
        self._workers += 1
        remit = Path(sys.executable).with_name("remit")
        return await self.start(
            f"worker {self._workers}", str(remit), "worker", "shop.app:app", environment=environment
        )

    async def start_module(self, name: str, module: str, *arguments: str, environment: Mapping[str, str]) -> Child:
        return await self.start(name, sys.executable, "-m", module, *arguments, environment=environment)

    async def start(self, name: str, *command: str, environment: Mapping[str, str]) -> Child:
        log = self._logs / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                process_group=self._group,
            )
        child = Child(name, process, log)
        self.members.append(child)
        return child

    def check(self) -> None:
        """Raise when one has ended that should not have."""
        for child in self.members:
            if not child.alive and not child.leaving:
                raise Refusal(f"{child.name} ended by itself, with {child.status}:\n{child.last_words()}")

    def last_words(self) -> str:
        """The end of every log."""
        return "\n".join(f"{child.name}:\n{child.last_words()}" for child in self.members)

    async def stop(self, *children: Child, patience: float = 10.0) -> None:
        await asyncio.gather(*(child.stop(patience) for child in children or self.members))
