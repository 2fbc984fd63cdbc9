"""The composition root: the only place where objects meet."""

from potluck.app.compose import Gateway, Inventory, SystemClock, database, inventory, open_ledger
from potluck.app.run import serve

__all__ = ["Gateway", "Inventory", "SystemClock", "database", "inventory", "open_ledger", "serve"]
