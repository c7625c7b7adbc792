"""`python -m benchmarks`: measures remit beside its peers, round by round, and says what came out."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.contenders.contender import JOBS, Measure, Side, Store
from benchmarks.field import CONTENDERS
from benchmarks.measures import IN_TURNS, MEASURES, ONCE
from benchmarks.places import Places
from benchmarks.report import BASELINE, Report
from benchmarks.setting import Figures, Setting


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    contenders = [one for one in CONTENDERS if one.store in options.store and _chosen(one, options.only)]
    report = Report(contenders, options.rounds)
    with Places({one.store for one in contenders}) as places:
        report.describe(postgres=places.server_version(), fsync=places.fsync())
        for measure in options.measures:
            for store in options.store:
                sides = [one for one in contenders if one.store is store and measure in one.measures]
                if options.smoke and measure in JOBS and measure is not Measure.DRAIN:
                    sides = [one for one in sides if one.distribution == BASELINE]
                rounds = 1 if measure in ONCE else options.rounds
                for round_number, group in _interleaved(sides, rounds, together=measure in IN_TURNS):
                    results = asyncio.run(_measure(places, measure, group, options))
                    for kind, figures in zip(group, results, strict=True):
                        report.add(measure, kind, figures)
                        report.say(f"{measure} · {store} · round {round_number} · {kind.name}", figures)
        report.show()
        if options.json:
            report.write_json(Path(options.json))
        if options.markdown:
            report.write_markdown(Path(options.markdown))
    return 1 if report.failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"any of {', '.join(Measure)}; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measure; the median counts (3)")
    parser.add_argument("--only", type=_list, default=[], help="names of contenders, such as remit,pgqueuer")
    parser.add_argument("--store", type=_list, default=list(Store), help="postgres, sqlite, or both")
    parser.add_argument("--n", type=int, help="jobs in enqueue, bulk and drain, events in fan-out, for all")
    parser.add_argument("--samples", type=int, default=200, help="samples of latencies and publish (200)")
    parser.add_argument("--rate", type=float, default=200.0, help="jobs a second in busy-latency (200)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of busy-latency and footprint (10)")
    parser.add_argument("--old", type=int, help="old events in log (10,000,000 in PostgreSQL, 1,000,000 in SQLite)")
    parser.add_argument("--json", help="a file for the results, machine-readable")
    parser.add_argument("--markdown", help="a file for the tables of the README")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="does it run at all? every measure for remit, and a drain for the others, tiny",
    )
    options = parser.parse_args(arguments)
    try:
        options.measures = [Measure(one) for one in options.measures] or list(Measure)
        options.store = [Store(one) for one in options.store]
    except ValueError as error:
        parser.error(str(error))
    if unknown := set(options.only) - {one.name for one in CONTENDERS}:
        parser.error(f"no contender is called {', '.join(sorted(unknown))}")
    if options.smoke:
        options.rounds, options.n, options.samples, options.seconds = 1, 200, 10, 0.5
        options.old = 1_000
    return options


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _chosen(contender: type[Side], only: Sequence[str]) -> bool:
    return not only or contender.name in only


def _interleaved(
    sides: Sequence[type[Side]], rounds: int, *, together: bool
) -> Iterator[tuple[int, Sequence[type[Side]]]]:
    """A B C, C B A, A B C …: noise, and what one leaves behind for the next, hits all alike."""
    for number in range(1, rounds + 1):
        ordered = sides if number % 2 else sides[::-1]
        if together:
            yield number, ordered
        else:
            yield from ((number, [kind]) for kind in ordered)


async def _measure(
    places: Places, measure: Measure, kinds: Sequence[type[Side]], options: argparse.Namespace
) -> list[Figures | Exception]:
    turn = asyncio.Lock()
    return await asyncio.gather(*(_measure_one(places, measure, kind, options, turn) for kind in kinds))


async def _measure_one(
    places: Places, measure: Measure, kind: type[Side], options: argparse.Namespace, turn: asyncio.Lock
) -> Figures | Exception:
    with places.fresh(kind.store) as url, tempfile.TemporaryDirectory(dir=places.folder) as folder:
        contender = kind(url)
        setting = Setting(
            contender,
            places,
            Path(folder),
            n=options.n,
            samples=options.samples,
            rate=options.rate,
            seconds=options.seconds,
            old=options.old,
            settling=0.05 if options.smoke else 1.0,
            turn=turn,
        )
        try:
            async with turn:
                await contender.prepare()
            return await MEASURES[measure](setting)
        except Exception as error:
            return error


if __name__ == "__main__":
    sys.exit(main())
