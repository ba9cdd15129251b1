"""`python -m perennial` is the `perennial` command."""

from perennial.cli import app

app(prog_name="perennial")
