"""The check as a test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from remit.boundaries.baseline import Baseline
from remit.boundaries.checking import Application, Finder, check


def assert_boundaries(
    app: Application,
    *,
    baseline: str | Path | None = None,
    rules: Iterable[str] = (),
    domains: Iterable[str] = (),
    finders: Iterable[Finder] = (),
    cache: Path | None = None,
) -> None:
    """Fail with all violations at once, each with its line and its remedy.

    `baseline` is a file written by `remit check --baseline write`: its violations pass, and those of them that were
    fixed fail. `rules` and `domains` restrict the check. `cache` is a folder that keeps results for the next check.
    Raises `AssertionError`, and the errors of `check`.

        def test_domains_keep_their_boundaries() -> None:
            assert_boundaries(app)
    """
    __tracebackhide__ = True  # pytest shows the test, and not this function
    rules, domains = tuple(rules), tuple(domains)
    report = check(app, finders=finders, rules=rules, domains=domains, cache=cache)
    known = Baseline.read(Path(baseline)) if baseline is not None else Baseline.of(())
    compared = known.narrowed(rules, domains).compare(report.violations)
    lines = [each.text() for each in compared.new]
    lines += [f"{baseline}: fixed, so remove it: {each.rule}: {each.subject}" for each in compared.fixed]
    if lines:
        count = len(lines)
        raise AssertionError(
            "\n".join([f"{count} {'violation' if count == 1 else 'violations'} of boundaries", *lines])
        )
