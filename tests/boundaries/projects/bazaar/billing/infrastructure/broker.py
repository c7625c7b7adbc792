"""Declared as infrastructure: it may."""

import kombu

import remit.db.store

USED = (kombu, remit)
