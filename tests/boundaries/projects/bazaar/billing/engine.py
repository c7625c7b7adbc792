"""Never imported: the engines are not installed."""

import logging

import dbos  # violates: engine-import
import dramatiq.brokers  # violates: engine-import
from celery import Celery  # violates: engine-import

import remit
import remit.runtime.worker  # violates: engine-import
from remit import db  # violates: engine-import
from remit.db.store import Store  # violates: engine-import
from remit.errors import RemitError

log = logging.getLogger(__name__)
USED = (dbos, dramatiq, Celery, remit, db, Store, RemitError)
