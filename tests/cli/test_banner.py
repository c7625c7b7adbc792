"""What a store says that its set-up costs; the rest of the banner is in `test_worker.py`."""

import pytest

from remit.db.opening import open_store


@pytest.mark.parametrize(
    "url, options, words",
    [
        ("sqlite:///shop.db", {}, []),
        ("sqlite:///shop.db?synchronous=normal", {}, ["synchronous=normal in the URL: "]),
        ("postgresql://localhost/shop", {}, []),
        ("postgresql://localhost/shop", {"pooler": True}, ["behind a pooler nobody can LISTEN"]),
    ],
)
def test_a_set_up_that_costs_something_is_named_with_what_mends_it(
    url: str, options: dict[str, bool], words: list[str]
) -> None:
    cautions = open_store(url, **options).cautions()  # type: ignore[arg-type]
    assert len(cautions) == len(words)
    assert all(caution.startswith(start) for caution, start in zip(cautions, words, strict=True))
