"""State and events of hosts, kept in a database."""

from provision.store.errors import SchemaMismatch, StoreError, StoreUnusable
from provision.store.store import Store

__all__ = ["SchemaMismatch", "Store", "StoreError", "StoreUnusable"]
