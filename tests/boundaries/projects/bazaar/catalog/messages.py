from remit import Domain, Event, Job


class Catalog(Domain[object]):
    """Articles."""


catalog = Catalog()


class RebuildIndex(Job[Catalog]):
    organization_id: str


class ArticleAdded(Event[Catalog]):
    organization_id: str
    sku: str
