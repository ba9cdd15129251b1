"""`python -m tests.api.dying DATABASE_URL PORT`: an API that is killed between the commit of a POST and its answer."""

from __future__ import annotations

import os
import signal
import sys

import uvicorn
from starlette.types import Message, Receive, Scope, Send

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database


def main(database_url: str, port: int) -> None:
    """Serve until the first POST was done."""
    app = create_app(ApiDependencies(database=Database(database_url, pool_size=1)))

    async def dying(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if scope.get("method") == "POST" and message["type"] == "http.response.start":
                os.kill(os.getpid(), signal.SIGKILL)
            await send(message)

        await app(scope, receive, answer)

    uvicorn.run(dying, host="127.0.0.1", port=port, log_config=None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
