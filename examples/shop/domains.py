"""All domains of the shop."""

from shop.analytics.messages import analytics
from shop.billing.messages import billing
from shop.mail.messages import mail
from shop.orders.messages import orders
from shop.warehouse.messages import warehouse

DOMAINS = (orders, billing, warehouse, mail, analytics)
