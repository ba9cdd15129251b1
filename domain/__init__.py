"""Rules of the product as pure functions and frozen models: no I/O, no clock, no randomness, no settings."""
