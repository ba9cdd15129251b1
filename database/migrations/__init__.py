"""Alembic migrations: expand, backfill in batches, contract; every one sets a lock timeout."""
