"""The demo from beginning to end."""

import asyncio
import json
import random
import signal
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from rich.console import Console
from sqlalchemy import func, select

from remit import Remit, SubscriptionRecord
from shop.analytics.models import Sale
from shop.billing.models import Payment
from shop.database import Database
from shop.demo.accident import kill_a_worker
from shop.demo.audit import DAY, audit, collect
from shop.demo.customers import Customers, read_orders
from shop.demo.display import Display, display
from shop.demo.guard import Guard
from shop.demo.log import EventLog
from shop.demo.options import Options
from shop.demo.outside import TAKEN, Letter, Outside
from shop.demo.place import Place, find_place
from shop.demo.refusal import Refusal
from shop.demo.story import Heard, Relayed, Story
from shop.demo.team import Child, Team
from shop.demo.verdict import show
from shop.demo.waiting import until
from shop.domains import DOMAINS
from shop.orders.models import Order
from shop.settings import Settings
from shop.setup import set_up

HOST = "127.0.0.1"
LOOK = 0.4
"""Seconds between two looks at the state of things."""
START_PATIENCE = 30.0
RETURN_PERIOD = 5.0
"""Seconds that stand for the two weeks in which customers may send things back."""
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
            return_period=RETURN_PERIOD,
            documents=folder / "documents",
            reports=folder / "reports",
            mail_host=HOST,
            warehouse_timeout=1.5,
        )
        app = Remit(place.url, domains=DOMAINS, schema=place.job_schema)
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
        show(findings, console)
        clean = all(finding.clean for finding in findings)
        verdict = (
            "every subscriber saw every committed event, and none that was rolled back; nothing is lost, and nothing "
            "inside the database happened twice"
            if clean
            else "the audit found faults"
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
                f"{len(customers.answers.refused)} refused and rolled back"
            )
        story.phase = "the last events"
        await self._until_done()
        await self._mend()
        story.tell(f"all events are out and all jobs are done; the longest lag seen was {story.relayed.slowest:.1f} s")
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
        story.phase = "starting mail server, warehouse, push service, the shop and its workers"
        await self.app.migrate()
        await asyncio.to_thread(set_up, self.database)
        world = await team.start_module("the outside world", "shop.demo.world", str(self.folder), environment={})
        addresses = await self._addresses()
        self.settings = replace(
            self.settings,
            mail_port=addresses["mail_port"],
            warehouse_url=f"http://{HOST}:{addresses['http_port']}",
            push_url=f"http://{HOST}:{addresses['http_port']}",
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
        story.tell(
            f"mail server, warehouse and push service listen (pid {world.pid}), {len(story.workers)} workers wait"
        )
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

    async def _mend(self) -> None:
        """What gave up is kept, and a person replays it when its cause is mended."""
        dead = await self.app.jobs.count(state="dead", job="warehouse.send-parcel")
        if dead:
            Outside(self.folder).addresses_mended.touch()
            replayed = await self.app.jobs.replay(job="warehouse.send-parcel")
            self.story.phase = "the office has mended the addresses of parcels that were given up"
            self.story.tell(f"the office has mended addresses; dead letters replayed: {replayed}", "bold yellow")
            await self._until_done()

    async def _until_done(self) -> None:
        done, since = -1, self.story.seconds
        while True:
            queues = await self.app.queues.list(window=DAY)
            outbox = await self.app.events.outbox()
            subscriptions = await self.app.subscriptions.list()
            waiting = any("waiting" in each.under_way for each in subscriptions)
            if not (
                outbox.pending or waiting or any(queue.ready or queue.running or queue.scheduled for queue in queues)
            ):
                return
            now_done = sum(sum(queue.ended.values()) for queue in queues)
            if now_done != done:
                done, since = now_done, self.story.seconds
            elif self.story.seconds - since > STUCK_AFTER:
                raise Refusal(f"no job was done for {STUCK_AFTER:.0f} s, and some are left: {queues}")
            await asyncio.sleep(LOOK)

    # --- looking on

    async def _watch(self, shown: Display) -> None:
        outside, log = Outside(self.folder), EventLog(self.app)
        while True:
            self.team.check()
            if self.story.workers:
                await self._look(outside, log)
            shown.update()
            await asyncio.sleep(LOOK)

    async def _look(self, outside: Outside, log: EventLog) -> None:
        story, app = self.story, self.app
        story.queues = await app.queues.list(window=DAY)
        story.running = {record.pid: record.running for record in await app.workers.list()}
        await log.read()
        outbox = await app.events.outbox()
        lag = outbox.lag or 0.0
        story.relayed = Relayed(max(log.total, outbox.pending), outbox.pending, lag, max(lag, story.relayed.slowest))
        story.heard = {each.name: _heard(each, log) for each in await app.subscriptions.list()}
        mails, parcels = outside.count_mails(), outside.count_answers(outside.parcels)
        pushes = outside.count_answers(outside.pushes)
        story.outside = Counter(
            {
                **await asyncio.to_thread(self._count_rows),
                "parcels": sum(parcels[answer] for answer in TAKEN),
                "pushes": sum(pushes[answer] for answer in TAKEN),
                "mails": mails[Letter.INVOICE],
                "questions": mails[Letter.QUESTION],
                "letters": mails[Letter.OFFICE],
                "reports": outside.count_reports(),
            }
        )

    def _count_rows(self) -> dict[str, int]:
        counted = {
            "payments": select(func.count()).select_from(Payment),
            "sales": select(func.count()).select_from(Sale),
            "paid orders": select(func.count()).select_from(Order).where(Order.paid),
            "sent orders": select(func.count()).select_from(Order).where(Order.sent),
        }
        with self.database.sessions() as session:
            return {what: session.scalar(count) or 0 for what, count in counted.items()}


def _heard(subscription: SubscriptionRecord, log: EventLog) -> Heard:
    counts = {state: waiting.count for state, waiting in subscription.under_way.items()}
    retrying, dead = counts.pop("scheduled", 0), counts.pop("dead", 0)
    under_way = sum(counts.values())
    done = max(0, log.wanted_by(subscription) - under_way - retrying - dead)
    return Heard(done, under_way, retrying, dead)


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
