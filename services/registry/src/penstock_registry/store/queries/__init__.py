"""What the API asks of the tables. Every query is bounded, whatever was learned and whatever is asked."""

from penstock_registry.store.queries.files import Order, Wanted
from penstock_registry.store.queries.queries import Queries
from penstock_registry.store.queries.receipts import WantedReceipts

__all__ = ["Order", "Queries", "Wanted", "WantedReceipts"]
