"""The `perennial` command, also as `python -m perennial`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from perennial.cli import app


def main() -> NoReturn:
    """Run a command and leave with its exit code.

    Threads of Temporal's SDK may still touch Python's objects while the interpreter takes itself apart, which aborts
    the process: a migration that went well would end with SIGABRT. All is done by then, so it leaves without that.
    """
    try:
        app(prog_name="perennial")
    except SystemExit as ended:
        if "temporalio.bridge" not in sys.modules or not isinstance(ended.code, int | None):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code or 0)
    sys.exit()


if __name__ == "__main__":
    main()
