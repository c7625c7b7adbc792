"""`not-a-fact`: the name of an event states what has happened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from remit.boundaries.model import Model
from remit.boundaries.violations import Violation
from remit.catalog.names import kebab


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_IRREGULAR: Final = _set("""
arisen awoken beaten became become been began begun bent beset bet bid bitten blew blown born borne bought bred
broadcast broke broken brought built burnt burst came caught chose chosen clung come crept cut dealt did done
drawn dreamt drew driven drove drunk dug eaten fallen fed fell fled flew flown flung forbidden foreseen forgiven
forgot forgotten forsaken fought found froze frozen gave given gone got gotten grew grown handwritten heard held
hid hidden hit hung hurt interwoven kept knew known laid lain leant leapt learnt led left lent let lost made
meant met misheard mislaid misled misread misspelt misspent mistaken misunderstood mown outbid outdone outgrown
outrun outsold overcome overdone overdrawn overheard overlain overpaid overridden overrun overseen overshot
oversold overspent overtaken overthrown overwritten paid partaken prepaid proven put quit ran rang read rebound
rebuilt recast redone redrawn regrown reheard relaid remade repaid rerun resat resent reset resold retaken
rethought retold rewound rewritten rid ridden risen run rung said sang sank sat seen sent set sewn shaken shed
shone shook shown shrank shrunk shut slain slept slid slit sold sought sown spelt spent spilt split spoken
sprang spread sprung spun stank stole stolen stood struck strung stuck stung sublet sung sunk swam swept swollen
sworn swum swung taken taught thought threw thrown thrust told took tore torn trodden undercut undergone
underpaid understood undertaken underwent underwritten undone unwound upheld uploaded upset used went wept
withdrawn withdrew withheld withstood woke woken won wore worn woven written wrote wrung
""")
"""Participles and pasts that do not end in -ed."""

_SAME: Final = _set("""
become bet bid broadcast burst come cut hit hurt let misread overcome overrun put quit read recast rerun reset rid run
set shed shut split spread sublet thrust undercut upset
""")
"""Those of them with the form of the imperative: at the beginning of a name they are one."""

_NOT_PAST: Final = _set("""
bed bobsled breed bleed creed deed embed exceed feed greed heed hundred indeed infrared kindred moped naked need
proceed red reed sacred seed shred sled speed steed succeed ted weed wed zed
""")
"""Words in -ed that are not a past form."""

_AFTER: Final = _set("""
about above abroad across again against ahead along among apart around as aside at automatically away back
before below beneath between beyond by down early elsewhere for forth forward from in inside into late live
manually near of off offline on online onto out outside over past since through throughout to together towards
twice under unsuccessfully until up upon via with within without
""")
"""Words that may follow a participle: `UserSignedUp`, `ItemAddedToCart`, `InvoicePaidLate`."""

_LINKS: Final = _set("became been become fell got went ran")
"""After these anything may follow: `StockBecameLow`, `StockFellShort`."""

_VERSION: Final = re.compile(r"_?[vV]?\d+$")


def not_a_fact(model: Model) -> Iterator[Violation]:
    """An event is neither a command nor a thing: its name holds a past participle."""
    facts: Any = model.boundaries.facts
    for spec in model.events:
        name = spec.message.__qualname__
        if spec.fact or spec.name in facts or name in facts or is_fact(spec.message.__name__):
            continue
        place = model.place_of(spec)
        yield Violation(
            "not-a-fact",
            place.file,
            place.line,
            spec.domain.__remit__.name,
            spec.name,
            f"{name} does not state what happened",
            "Name it in the past tense, as in InvoicePaid or UserSignedUp (name= keeps the stored name); if it does "
            f'state a fact, set fact=True on the class, or Boundaries(facts=("{name}",)).',
        )


def is_fact(name: str) -> bool:
    """Whether the name of a class states that something happened, judged by its words.

    `InvoicePaid`, `UserSignedUp`, `ItemAddedToCart`, `PaymentFailedV2`, `OrderPlacedEvent`; not `PayInvoice`,
    `SendPaidInvoice`, `InvoicePayment`.
    """
    words = kebab(_VERSION.sub("", name)).split("-")
    if len(words) > 1 and words[-1] == "event":
        words.pop()
    for place, word in enumerate(words):
        rest = words[place + 1 :]
        if not _is_past(word) or (place == 0 and rest and word in _SAME):
            continue
        if not rest or word in _LINKS or rest[0] in _AFTER or rest[0].endswith("ly"):
            return True
    return False


def _is_past(word: str) -> bool:
    if word in _IRREGULAR or word in _SAME:
        return True
    if not word.endswith("ed") or word in _NOT_PAST or len(word) <= 3:
        return False
    return not word.endswith("eed") or word in {"agreed", "decreed", "disagreed", "freed", "guaranteed", "refereed"}
