"""Internal to billing."""

import asyncio

from bazaar.billing.messages import InvoiceSplit, LowWater, StockLow, billing


async def post(invoice: str) -> None:
    await billing.publish(LowWater(organization_id=invoice))
    publish = billing.publish_many
    await publish([StockLow(organization_id=invoice), *()])


async def pass_on(event) -> None:
    await billing.publish(event)


async def split() -> None:
    await pass_on(InvoiceSplit(organization_id="1"))


async def settle(invoice: str) -> None:
    await asyncio.sleep(len(invoice))
