"""Numbered migrations, applied by `store.database.open_store`."""
