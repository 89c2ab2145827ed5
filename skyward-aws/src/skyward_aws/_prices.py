"""What machines cost: on demand by the Price List, on spot by each zone's history."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyward_aws._api import Api

__all__ = ["on_demand", "one", "price_of", "spot", "spot_prices"]

_SELLER = "us-east-1"
"""A region that has the Price List, which tells the prices of all regions."""
_PLAIN = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


async def on_demand(api: Api) -> dict[str, float]:
    """Dollars for an hour of each instance type in the region."""
    wanted = {"regionCode": api.region, **_PLAIN}
    products = await api.pages(
        "get_products",
        "PriceList",
        service="pricing",
        region=_SELLER,
        ServiceCode="AmazonEC2",
        FormatVersion="aws_v1",
        Filters=[{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()],
    )
    return {kind: price for kind, price in map(price_of, products) if price is not None}


def price_of(product: str) -> tuple[str, float | None]:
    """The instance type of a product of the Price List, and its price; ``None`` if it is not sold by the hour."""
    told: Mapping[str, Any] = json.loads(product)
    kind = str(told.get("product", {}).get("attributes", {}).get("instanceType", ""))
    for term in told.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            with contextlib.suppress(KeyError, ValueError):
                price = float(dimension["pricePerUnit"]["USD"])
                if price > 0 and dimension.get("unit", "Hrs") == "Hrs":
                    return kind, price
    return kind, None


async def one(api: Api, kind: str) -> None:
    """Read one price, to see whether that is allowed.

    Raises:
        ProviderError: it is not.
    """
    wanted = {"Type": "TERM_MATCH", "Field": "instanceType", "Value": kind}
    await api.ask(
        "get_products", service="pricing", region=_SELLER, ServiceCode="AmazonEC2", Filters=[wanted], MaxResults=1
    )


async def spot(api: Api) -> dict[str, dict[str, float]]:
    """Dollars for an hour, now, of each instance type in each zone of the region."""
    rows = await api.pages(
        "describe_spot_price_history",
        "SpotPriceHistory",
        StartTime=dt.datetime.now(dt.UTC),
        ProductDescriptions=["Linux/UNIX"],
        PaginationConfig={"PageSize": 1000},
    )
    return spot_prices(rows)


def spot_prices(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The last price of each type in each zone."""
    prices: dict[str, dict[str, float]] = {}
    for row in sorted(rows, key=lambda row: row["Timestamp"]):
        with contextlib.suppress(KeyError, ValueError):
            prices.setdefault(row["InstanceType"], {})[row["AvailabilityZone"]] = float(row["SpotPrice"])
    return prices
