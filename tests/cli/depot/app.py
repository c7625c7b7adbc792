from depot.messages import depot

from remit import Remit


def make_app() -> Remit:
    """An application on the database that REMIT_DATABASE_URL names."""
    return Remit(domains=[depot])


def needs_arguments(url: str) -> Remit:
    return Remit(url, domains=[depot])


async def later() -> Remit:
    return make_app()


not_an_app = 42
