"""The HTTP API: one router file for each noun; problems, keys, idempotency and paging beside them."""
