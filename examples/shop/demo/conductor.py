"""The demo from beginning to end."""

import asyncio
import json
import random
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from rich.console import Console
from rich.padding import Padding
from sqlalchemy import func, select

from remit import Remit
from shop.database import Database
from shop.demo.accident import kill_a_worker
from shop.demo.audit import DAY, audit, collect, table
from shop.demo.customers import Customers, read_orders
from shop.demo.display import Display, display
from shop.demo.guard import Guard
from shop.demo.options import Options
from shop.demo.outside import Outside
from shop.demo.place import Place, find_place
from shop.demo.refusal import Refusal
from shop.demo.story import Seen, Story
from shop.demo.team import Child, Team
from shop.demo.waiting import until
from shop.orders.messages import orders
from shop.orders.models import Payment
from shop.reports.messages import reports
from shop.settings import Settings
from shop.setup import set_up

HOST = "127.0.0.1"
LOOK = 0.25
"""Seconds between two looks at the state of things."""
START_PATIENCE = 30.0
MOST_FAULTS = 20
STUCK_AFTER = 60.0
"""Seconds without any job done, while some are left, after which the demo gives up."""


def play_in(folder: Path, options: Options) -> bool | None:
    """Play the demo with its data in `folder`; answers whether the audit found nothing, None if it could not be played.

    Raises `KeyboardInterrupt` for Ctrl-C and for SIGTERM, when all is tidied up.
    """
    console = Console(highlight=False)
    try:
        return asyncio.run(_play_or_explain(options, folder, console))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


async def _play_or_explain(options: Options, folder: Path, console: Console) -> bool | None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await _play(options, folder, console)
    except* Refusal as refusals:
        for refusal in _leaves(refusals):
            Console(stderr=True, highlight=False).print(str(refusal), style="red", markup=False, soft_wrap=True)
    return None


async def _play(options: Options, folder: Path, console: Console) -> bool:
    guard = await Guard.post(folder)
    try:
        async with find_place(options.url, options.store, folder, guard) as place:
            stage = await Stage.build(options, place, folder, guard)
            try:
                return await stage.play(console)
            finally:
                await stage.clear()
    finally:
        await guard.dismiss()


@dataclass(slots=True)
class Stage:
    """What all acts share."""

    options: Options
    folder: Path
    settings: Settings
    app: Remit
    database: Database
    team: Team
    customers: Customers
    story: Story
    shop: str

    @classmethod
    async def build(cls, options: Options, place: Place, folder: Path, guard: Guard) -> "Stage":
        port = _port(options.port)
        settings = Settings(
            database_url=place.url,
            job_schema=place.job_schema,
            lease=options.lease,
            retry_after=0.5,
            invoices=folder / "invoices",
            reports=folder / "reports",
            mail_host=HOST,
            warehouse_timeout=1.5,
        )
        app = Remit(place.url, domains=[orders, reports], schema=place.job_schema)
        customers = Customers(
            read_orders(options.orders), f"http://{HOST}:{port}", clients=options.clients, rate=options.rate
        )
        story = Story(place.description, customers)
        shop = f"http://{HOST}:{port}"
        database = Database(place.url)
        return cls(options, folder, settings, app, database, Team(folder, guard.group), customers, story, shop)

    async def play(self, console: Console) -> bool:
        with display(self.story, console) as shown:
            shown.update()
            await self._watching(shown)
        findings = audit(await collect(self.app, self.database, self.folder))
        console.print()
        console.print(table(findings))
        console.print()
        for remark in [finding.remark for finding in findings if finding.remark]:
            console.print(Padding(remark, (0, 0, 0, 3)), style="dim")
        for fault in [fault for finding in findings for fault in finding.faults][:MOST_FAULTS]:
            console.print(Padding(fault, (0, 0, 0, 3)), style="red")
        console.print()
        clean = all(finding.clean for finding in findings)
        verdict = (
            "nothing is lost, and nothing inside the database happened twice" if clean else "the audit found faults"
        )
        console.print(
            f"{self.story.seconds:.0f} s: {verdict}", style="bold green" if clean else "bold red", highlight=False
        )
        return clean

    async def clear(self) -> None:
        """End every process and close every connection."""
        await self.team.stop(patience=1.0)
        await self.app.__aexit__()
        self.database.close()

    async def _watching(self, shown: Display) -> None:
        """Play all acts, while somebody looks at them."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(shown))
            await self._acts()
            watch.cancel()
        shown.update()

    async def _acts(self) -> None:
        story, customers = self.story, self.customers
        environment = await self._open()
        story.phase = f"orders come in over HTTP, up to {self.options.rate:.0f} a second"
        story.tell(f"{self.options.clients} clients begin to order")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._accident(environment))
            await customers.run()
            customers.answers.save(self.folder / "answers.json")
            story.tell(
                f"all {customers.total:,} orders are answered: {len(customers.answers.accepted):,} accepted, "
                f"{len(customers.answers.refused)} refused"
            )
        story.phase = "the last jobs"
        await self._until_done()
        story.tell("all jobs are done")
        story.phase = "closing"
        working = [child for child in story.workers if child.alive]
        await self.team.stop()
        for child in working:
            if child.status != 0:
                raise Refusal(f"{child.name} did not end in good order, but with {child.status}:\n{child.last_words()}")
        story.tell("workers and servers have ended")

    # --- the acts

    async def _open(self) -> Mapping[str, str]:
        """Make the tables, start every process, wait until each is ready; answers the processes' environment."""
        story, team = self.story, self.team
        story.tell(f"a shop on {story.store}")
        story.phase = "starting a mail server, a warehouse, the shop and its workers"
        await self.app.migrate()
        await asyncio.to_thread(set_up, self.database)
        world = await team.start_module("the outside world", "shop.demo.world", str(self.folder), environment={})
        addresses = await self._addresses()
        self.settings = replace(
            self.settings,
            mail_port=addresses["mail_port"],
            warehouse_url=f"http://{HOST}:{addresses['warehouse_port']}",
        )
        environment = self.settings.as_environment()
        port = self.shop.rpartition(":")[2]
        web = await team.start_module(
            "the shop",
            "uvicorn",
            "shop.web:web",
            "--host",
            HOST,
            "--port",
            port,
            "--no-access-log",
            environment=environment,
        )
        for _ in range(self.options.workers):
            story.workers.append(await team.start_worker(environment))
        await self._until_ready(story.workers)
        story.tell(f"the shop is open on {self.shop} (pid {web.pid})")
        story.tell(f"a mail server and a warehouse listen (pid {world.pid}), {len(story.workers)} workers wait")
        return environment

    async def _addresses(self) -> dict[str, int]:
        path = self.folder / "addresses.json"
        async with asyncio.timeout(START_PATIENCE):
            await until(path.exists)
        addresses: dict[str, int] = json.loads(path.read_text())
        return addresses

    async def _until_ready(self, workers: list[Child]) -> None:
        try:
            async with asyncio.timeout(START_PATIENCE), httpx.AsyncClient() as http:
                await until(lambda: self._work(workers))
                await until(lambda: self._answers(http))
        except TimeoutError:
            raise Refusal(f"not ready after {START_PATIENCE:.0f} s\n{self.team.last_words()}") from None

    async def _work(self, workers: list[Child]) -> bool:
        return {child.pid for child in workers} <= {record.pid for record in await self.app.workers.list()}

    async def _answers(self, http: httpx.AsyncClient) -> bool:
        try:
            return (await http.get(f"{self.shop}/health")).is_success
        except httpx.TransportError:
            return False

    async def _accident(self, environment: Mapping[str, str]) -> None:
        story, customers = self.story, self.customers
        before = story.phase
        await until(lambda: customers.answers.count >= customers.total * self.options.kill_at)
        await kill_a_worker(self.app, self.team, story.workers, environment, story)
        story.phase = before

    async def _until_done(self) -> None:
        done, since = -1, self.story.seconds
        while True:
            queues = await self.app.queues.list(window=DAY)
            if not any(queue.ready or queue.running or queue.scheduled for queue in queues):
                return
            now_done = sum(sum(queue.ended.values()) for queue in queues)
            if now_done != done:
                done, since = now_done, self.story.seconds
            elif self.story.seconds - since > STUCK_AFTER:
                raise Refusal(f"no job was done for {STUCK_AFTER:.0f} s, and some are left: {queues}")
            await asyncio.sleep(LOOK)

    # --- looking on

    async def _watch(self, shown: Display) -> None:
        outside = Outside(self.folder)
        while True:
            self.team.check()
            if self.story.workers:
                await self._look(outside)
            shown.update()
            await asyncio.sleep(LOOK)

    def _count_payments(self) -> int:
        with self.database.sessions() as session:
            return session.scalar(select(func.count()).select_from(Payment)) or 0

    async def _look(self, outside: Outside) -> None:
        story = self.story
        story.queues = {queue.name: queue for queue in await self.app.queues.list(window=DAY)}
        story.running = {record.pid: record.running for record in await self.app.workers.list()}
        story.seen = Seen(
            payments=await asyncio.to_thread(self._count_payments),
            invoices=outside.count_invoices(),
            mails=outside.count_mails(),
            reports=outside.count_reports(),
            answers=outside.count_answers(),
        )


def _port(wanted: int | None) -> int:
    """The port that is asked for, or a free one from below the range that outgoing connections use."""
    candidates = [wanted] if wanted else random.sample(range(20_000, 32_000), 100)
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if wanted:
                    raise Refusal(f"port {port} cannot be used: {error.strerror}") from error
            else:
                return port
    raise Refusal("no free port was found")
