"""What an application declares about its boundaries is checked: nothing in it is silently without effect."""

import pytest

from remit.boundaries import ENGINES, Allow, Boundaries, Exempt, check
from remit.boundaries.patterns import covers
from remit.errors import ConfigurationError
from tests.boundaries.conftest import Application, Project


@pytest.mark.parametrize(
    "options, told",
    [
        ({"faces": "messages"}, "several names, as in ('messages',)"),
        ({"faces": {"a": "messages"}}, "several names"),
        ({"allow": [("a", "b")]}, "takes Allow(…) with a reason"),
        ({"exempt": ["unheard-event"]}, "takes Exempt(…) with a reason"),
        ({"facts": (1,)}, "takes names as text, not 1"),
        ({"off": ("unheard-events",)}, "Did you mean 'unheard-event'?"),
    ],
)
def test_what_cannot_mean_anything_is_refused_at_once(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Boundaries(**options)  # type: ignore[arg-type]
    assert told in str(raised.value)


@pytest.mark.parametrize("text", ["", "  ", None])
def test_an_exception_says_why(text: object) -> None:
    with pytest.raises(ConfigurationError, match="takes reason= as meaningful text"):
        Allow("a", "b", reason=text)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="takes reason= as meaningful text"):
        Exempt("unheard-event", "a.b", reason=text)  # type: ignore[arg-type]


def test_an_exception_of_no_rule_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'domain-cycle'"):
        Exempt("domain-cycles", "a", reason="b")


@pytest.mark.parametrize(
    "boundaries, told",
    [
        (Boundaries(allow=[Allow("order", "stock", reason="x")]), "'order'.*Did you mean 'orders'"),
        (Boundaries(allow=[Allow("orders", "stocks", reason="x")]), "'stocks'.*Did you mean 'stock'"),
        (Boundaries(faces={"stok": ("messages",)}), "'stok'.*Did you mean 'stock'"),
        (Boundaries(depends={"orders": ("stok",)}), "'stok'.*Did you mean 'stock'"),
        (Boundaries(layers=("orders", "stok")), "'stok'.*Did you mean 'stock'"),
        (Boundaries(layers=("orders", ("stock", "orders"))), "names 'orders' twice"),
        (Boundaries(facts=("OrderPaidd",)), "'OrderPaidd'.*Did you mean 'OrderPaid'"),
    ],
)
def test_a_name_that_does_not_exist_names_the_nearest(boundaries: Boundaries, told: str) -> None:
    from market.app import app

    with pytest.raises(ConfigurationError, match=told):
        check(Application(app.catalog, boundaries))


@pytest.mark.parametrize(
    "pattern, module, expected",
    [
        ("shop.infra", "shop.infra", True),
        ("shop.infra", "shop.infra.mail", True),
        ("shop.infra", "shop.infrastructure", False),
        ("shop.*.models", "shop.billing.models.invoice", True),
        ("shop.*.models", "shop.billing.eu.models", False),
        ("**.models", "shop.billing.eu.models", True),
        ("**.test_*", "shop.billing.test_it", True),
        ("**.tests", "shop.contests", False),
        ("*.job", "invoices.job", True),
    ],
)
def test_a_pattern_covers_a_module_and_what_is_below_it(pattern: str, module: str, expected: bool) -> None:
    assert covers(pattern, module) is expected


TWO = {
    "one/messages.py": "from remit import Domain\nclass One(Domain[object]): ...\none = One()\n",
    "one/inner.py": "X = 1\n",
    "one/public.py": "X = 1\n",
    "one/sales/job.py": "X = 1\n",
    "two/messages.py": "from remit import Domain\nclass Two(Domain[object]): ...\ntwo = Two()\n",
}


def rules(project: Project, text: str, **options: object) -> list[str]:
    project.write(TWO | {"two/service.py": text})
    boundaries = Boundaries(**options) if options else None  # type: ignore[arg-type]
    return [
        each.rule for each in project.check("one.messages:one", "two.messages:two", boundaries=boundaries).violations
    ]


def test_faces_by_domain(project: Project) -> None:
    assert rules(project, "import PKG.one.public") == ["foreign-internals"]
    assert rules(project, "import PKG.one.public", faces=("public",)) == []
    assert rules(project, "import PKG.one.sales.job", faces={"one": ("*.job",), "*": ()}) == []
    assert rules(project, "from PKG import one", faces=("__init__",)) == []
    assert rules(project, "from PKG.one import inner", faces=("__init__",)) == ["foreign-internals"]


def test_the_module_of_the_domain_is_always_its_face(project: Project) -> None:
    assert rules(project, "from PKG.one.messages import one", faces=("public",)) == []


def test_an_allowed_dependency_by_domain_and_by_module(project: Project) -> None:
    assert rules(project, "import PKG.one.inner", allow=[Allow("two", "one", reason="x")]) == []
    assert rules(project, "import PKG.one.inner", allow=[Allow("two", "**.one.inner", reason="x")]) == []
    found = rules(project, "import PKG.one.inner", allow=[Allow("two", "**.one.public", reason="x")])
    assert sorted(found) == ["foreign-internals", "stale-exception"]


def test_layers_let_dependencies_go_down(project: Project) -> None:
    down = {"faces": ("public",), "layers": ("two", "one")}
    assert rules(project, "import PKG.one.public", **down) == []
    assert rules(project, "import PKG.one.public", **down | {"layers": ("one", "two")}) == ["layer-order"]
    assert rules(project, "import PKG.one.public", **down | {"layers": (("one", "two"),)}) == ["layer-order"]
    assert rules(project, "import PKG.one.messages", **down | {"layers": ("one", "two")}) == []


def test_a_rule_can_be_switched_off(project: Project) -> None:
    assert rules(project, "import PKG.one.inner", off=("foreign-internals",)) == []


def test_engines_of_ones_own(project: Project) -> None:
    assert rules(project, "import ourqueue.client") == []
    assert rules(project, "import ourqueue.client", engines=(*ENGINES, "ourqueue")) == ["engine-import"]
    assert rules(project, "import celery", engines=()) == []


def test_more_packages_can_be_looked_at(project: Project) -> None:
    (project.folder / "scripts").mkdir(exist_ok=True)
    (project.folder / "scripts" / "__init__.py").touch()
    text = f"from {project.name}.one.messages import one\none.sync.enqueue_named('nothing', {{}})\n"
    (project.folder / "scripts" / "nightly.py").write_text(text)
    assert rules(project, "", packages=("scripts",)) == ["unknown-job"]


def test_what_is_ignored(project: Project) -> None:
    project.write({"two/tests/test_it.py": "import PKG.one.inner\n", "two/legacy/old.py": "import PKG.one.inner\n"})
    assert rules(project, "") == ["foreign-internals"]
    assert rules(project, "", ignore=("**.tests", "**.legacy")) == []
