"""The declared boundaries of an application: public modules of its domains, and exceptions, each with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from remit.boundaries.patterns import covers
from remit.boundaries.violations import RULES
from remit.catalog import Catalog
from remit.errors import ConfigurationError, nearest

ENGINES: Final = (
    "airflow", "apscheduler", "arq", "billiard", "celery", "chancy", "dbos", "django_celery_beat", "django_q",
    "django_rq", "django_tasks", "dramatiq", "flask_rq2", "hatchet_sdk", "huey", "inngest", "kombu", "mrq", "oban",
    "periodiq", "pgqueuer", "prefect", "procrastinate", "rearq", "redbeat", "repid", "restate", "rq", "rq_scheduler",
    "saq", "streaq", "taskiq", "taskiq_redis", "temporalio", "tasktiger", "wakaq",
)  # fmt: skip
"""Packages of queue engines and workflow engines: `engines=(*ENGINES, "ours")` adds one."""

TESTS: Final = ("**.tests", "**.test", "**.conftest", "**.test_*", "**.*_test")
"""Modules that are ignored unless an application configures others."""

EVERYBODY: Final = "*"
"""In `faces`: all domains that are not named."""


@dataclass(frozen=True, slots=True)
class Allow:
    """A dependency that is allowed though the rules refuse it: `domain` may import `uses`, because of `reason`.

    `uses` is the name of another domain, for all of it, or modules, with wildcards. Lifts `foreign-internals`,
    `undeclared-dependency` and `layer-order`; a cycle of domains is still reported.

        Allow("catalog", "shop.billing.prices", reason="moves to a domain of its own with the new tariff")
    """

    domain: str
    uses: str
    reason: str

    def __post_init__(self) -> None:
        _check_texts(self, domain=self.domain, uses=self.uses, reason=self.reason)


@dataclass(frozen=True, slots=True)
class Exempt:
    """One or several intended violations: `rule` is not applied to `subject`, because of `reason`.

    `subject` is the subject in the report, and may hold `*`.

        Exempt("unpublished-event", "billing.invoice-paid", reason="published by the old ledger until spring")
    """

    rule: str
    subject: str
    reason: str

    def __post_init__(self) -> None:
        _check_texts(self, rule=self.rule, subject=self.subject, reason=self.reason)
        check_rule(self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundaries:
    """The boundaries of an application for `remit check`: `Remit(…, boundaries=Boundaries(…))`. All are optional.

    - `faces`: the modules of a domain that others may import, below its package and with wildcards: for all domains
      (`("messages", "api")`), or by domain (`{"billing": ("messages", "api"), "*": ("messages",)}`). `"__init__"` is
      the package itself. By default `messages`. The modules that declare the domain and its events are always public.
    - `allow`: dependencies that are allowed nevertheless, each an `Allow` with its reason.
    - `depends`: for a domain, all the domains that it may depend on: `{"billing": ("shared",)}`. A domain that is not
      named may depend on every public module.
    - `layers`: names of domains from high to low, each layer a name or several: a domain depends only on lower layers.
      Subscriptions are allowed in any direction.
    - `facts`: classes or names of events that state a fact although the rule does not recognise it (`"StockLow"`).
    - `entities`: modules, with wildcards, whose classes no payload may carry (`"**.models"`), beside those that remit
      recognises as entities.
    - `engines`: packages or modules that domains may not import (`"google.cloud.tasks_v2"`), with wildcards; by default
      `ENGINES`.
    - `infrastructure`: modules, with wildcards, that may import engines nevertheless. The composition root, which
      creates `Remit`, always may.
    - `packages`: packages to check beside those that hold the domains.
    - `ignore`: modules that are not checked, with wildcards; by default tests.
    - `exempt`: single intended violations, each an `Exempt` with its reason.
    - `type_checking`: whether imports under `if TYPE_CHECKING:` count as imports; by default they do.
    - `off`: rules that are not applied at all.

    Raises `ConfigurationError`, here for invalid values, and in the check for names that do not exist.
    """

    faces: Iterable[str] | Mapping[str, Iterable[str]] = ("messages",)
    allow: Iterable[Allow] = ()
    depends: Mapping[str, Iterable[str]] | None = None
    layers: Iterable[str | Iterable[str]] = ()
    facts: Iterable[str] = ()
    entities: Iterable[str] = ()
    engines: Iterable[str] = ENGINES
    infrastructure: Iterable[str] = ()
    packages: Iterable[str] = ()
    ignore: Iterable[str] = TESTS
    exempt: Iterable[Exempt] = ()
    type_checking: bool = True
    off: Iterable[str] = ()

    def __post_init__(self) -> None:
        for name in ("facts", "entities", "engines", "infrastructure", "packages", "ignore", "off"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        faces = self.faces if isinstance(self.faces, Mapping) else {EVERYBODY: self.faces}
        object.__setattr__(self, "faces", {name: _texts("faces", modules) for name, modules in faces.items()})
        depends = {name: _texts("depends", others) for name, others in (self.depends or {}).items()}
        object.__setattr__(self, "depends", depends)
        layers = tuple((each,) if isinstance(each, str) else _texts("layers", each) for each in self.layers)
        object.__setattr__(self, "layers", layers)
        for name, kind in (("allow", Allow), ("exempt", Exempt)):
            object.__setattr__(self, name, _all_of(name, kind, getattr(self, name)))
        for rule in self.off:
            check_rule(rule)

    def face(self, domain: str) -> tuple[str, ...]:
        """The modules that others may import, below the package of the domain."""
        faces: Any = self.faces
        return tuple(faces.get(domain, faces.get(EVERYBODY, ("messages",))))

    def check_names(self, catalog: Catalog) -> None:
        """Raise `ConfigurationError` for a domain or an event that does not exist, naming the nearest."""
        domains = {domain.name for domain in catalog.domains}
        used: list[tuple[str, str]] = [("allow", each.domain) for each in self.allow]
        used += [("allow", each.uses) for each in self.allow if "." not in each.uses and "*" not in each.uses]
        used += [("faces", name) for name in self.faces if name != EVERYBODY]
        for name, others in (self.depends or {}).items():
            used += [("depends", name), *(("depends", other) for other in others)]
        layered = [name for layer in self.layers for name in layer]
        used += [("layers", name) for name in layered]
        for option, name in used:
            if name not in domains:
                raise ConfigurationError(
                    f"Boundaries({option}=…) names the domain {name!r}, and the application has none of that name."
                    f"{nearest(name, domains)}"
                )
        if twice := next((name for name in layered if layered.count(name) > 1), None):
            raise ConfigurationError(f"Boundaries(layers=…) names {twice!r} twice; a domain is in one layer.")
        events = {word for spec in catalog.events for word in (spec.message.__qualname__, spec.name)}
        for fact in self.facts:
            if fact not in events:
                raise ConfigurationError(
                    f"Boundaries(facts=…) names the event {fact!r}, which no domain declares.{nearest(fact, events)}"
                )

    def allows(self, domain: str, module: str, owner: str) -> Allow | None:
        """The declaration that allows a domain to import a module of another one, if there is one."""
        return next((a for a in self.allow if a.domain == domain and (a.uses == owner or covers(a.uses, module))), None)


def check_rule(name: str) -> None:
    """Raise `ConfigurationError` for a rule that does not exist, naming the nearest."""
    if name not in RULES:
        raise ConfigurationError(f"there is no rule {name!r}.{nearest(name, RULES)} The rules are {', '.join(RULES)}.")


def _check_texts(declared: object, **texts: object) -> None:
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ConfigurationError(f"{type(declared).__name__} takes {name}= as meaningful text, not {text!r}.")


def _texts(option: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"Boundaries({option}=…) takes several names, as in ({given!r},).")
    texts = tuple(given)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise ConfigurationError(f"Boundaries({option}=…) takes names as text, not {text!r}.")
    return texts


def _all_of(option: str, kind: type[Any], given: Iterable[Any]) -> tuple[Any, ...]:
    found = tuple(given)
    for each in found:
        if not isinstance(each, kind):
            raise ConfigurationError(f"Boundaries({option}=…) takes {kind.__name__}(…) with a reason, not {each!r}.")
    return found
