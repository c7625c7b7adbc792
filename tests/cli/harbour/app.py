from harbour.messages import customs, port

from remit import Remit


def make_app() -> Remit:
    """An application on the database that REMIT_DATABASE_URL names."""
    return Remit(domains=[port, customs])
