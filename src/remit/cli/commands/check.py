"""`remit check`: check the boundaries between domains, in CI and locally."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.text import Text

from remit.boundaries import Baseline, Comparison, Report, Violation
from remit.boundaries import check as check_boundaries
from remit.boundaries.baseline import DEFAULT_FILE
from remit.boundaries.reading import FOLDER as CACHE_FOLDER
from remit.cli.applications import named
from remit.cli.exits import Exit, UsageError
from remit.cli.findings import of_the_store
from remit.cli.loading import load
from remit.cli.options import AppPath, AsJson, DomainName
from remit.cli.output import say, tell
from remit.cli.wording import count, line


def check(
    app: AppPath = None,
    *,
    rule: Annotated[
        list[str] | None, Parameter(name="--rule", negative=(), metavar="NAME", help="Only this rule; may be repeated.")
    ] = None,
    domain: DomainName = None,
    baseline: Annotated[
        Literal["write", "use"] | None,
        Parameter(
            help="`write` records the current violations in a file, `use` reports only others. The file can only "
            "shrink."
        ),
    ] = None,
    baseline_file: Annotated[
        str | None, Parameter(metavar="FILE", help=f"The file of --baseline: {DEFAULT_FILE}.")
    ] = None,
    cache: Annotated[
        bool, Parameter(show_default=False, help="Cache the results of unchanged files for the next check, or do not.")
    ] = True,
    cache_dir: Annotated[
        str, Parameter(metavar="FOLDER", help="The folder of the cache, relative to the current directory.")
    ] = CACHE_FOLDER,
    json: AsJson = False,
) -> Exit:
    """Check the boundaries between domains: imports, senders, events, payloads, handlers.

    Reports all violations at once, each with its line and its remedy. Needs no database.

    If the database is reachable, it also reports deliveries to subscriptions whose code was removed.
    """
    if baseline == "write" and (rule or domain):
        raise UsageError("--baseline write takes all violations: leave --rule and --domain out")
    if baseline_file is not None and baseline is None:
        raise UsageError("--baseline-file names the file of --baseline: add --baseline use, or --baseline write")
    application = load(named(app))
    rules, domains = tuple(rule or ()), tuple(filter(None, [domain]))
    report = check_boundaries(
        application,
        finders=of_the_store(application),
        rules=rules,
        domains=domains,
        cache=Path(cache_dir) if cache else None,
    )
    if baseline is None:
        return _tell(report, report.violations, None, "", json)
    file = Path(baseline_file or DEFAULT_FILE)
    if baseline == "write" and not file.exists():
        Baseline.of(report.violations).write(file)
        return _written(report, file, json)
    known = Baseline.read(file)
    compared = known.narrowed(rules, domains).compare(report.violations)
    if baseline == "write" and not compared.new:
        Baseline.of(report.violations).write(file)
        return _written(report, file, json)
    return _tell(report, compared.new, compared, str(file), json, grows=baseline == "write")


def _written(report: Report, file: Path, json: bool) -> Exit:
    if json:
        tell({"written": str(file), "known": len(report.violations)})
    else:
        say(f"{file}: {count(len(report.violations), 'violation')} known")
    return Exit.OK


def _tell(
    report: Report,
    violations: tuple[Violation, ...],
    compared: Comparison | None,
    file: str,
    json: bool,
    *,
    grows: bool = False,
) -> Exit:
    clean = compared.clean if compared else not violations
    if json:
        tell(_document(report, violations, compared, file))
        return Exit.OK if clean else Exit.FINDINGS
    for unread in report.unread:
        say(Text(line(unread.text()), "yellow"))
    for each in violations:
        head = Text.assemble((each.place, "bold"), ": ", (each.rule, "red"), ": ", line(each.message))
        say(head, Text(f"    {line(each.remedy)}", "dim"))
    if compared and not grows:
        for known in compared.fixed:
            say(Text.assemble((file, "bold"), ": ", ("fixed", "green"), f": {known.rule}: {line(known.subject)}"))
    say(_summary(report, violations, compared, file, grows))
    return Exit.OK if clean else Exit.FINDINGS


def _summary(
    report: Report, violations: tuple[Violation, ...], compared: Comparison | None, file: str, grows: bool
) -> str:
    looked = f"in {count(report.domains, 'domain')}, {count(report.modules, 'module')}"
    number = f"{count(len(violations), 'violation')} {looked}" if violations else f"no violations {looked}"
    if compared is None:
        return number
    if grows:
        return f"{number} are not in {file}, which can only shrink: fix them, or remove the file to start again"
    fixed = f"; {count(len(compared.fixed), 'entry', 'entries')} to remove: --baseline write" if compared.fixed else ""
    return f"{number} beside {len(compared.known):,} known in {file}{fixed}"


def _document(
    report: Report, violations: tuple[Violation, ...], compared: Comparison | None, file: str
) -> dict[str, Any]:
    document = replace(report, violations=violations).document()
    if compared is not None:
        fixed = [{"rule": each.rule, "subject": each.subject, "domain": each.domain} for each in compared.fixed]
        document["baseline"] = {"file": file, "known": len(compared.known), "fixed": fixed}
    return document
