import celery

import remit.db.store

USED = (celery, remit)
