"""The parent's side: a pool of rendering processes, each replaced as soon as it dies or takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self  # contexts are any JSON

import orjson

from domain.errors import TemplateAborted, TemplateFailed, Unavailable
from domain.findings import Severity
from domain.template_language import faults
from domain.templates import EmailContent

_REMEMBERED = 1_000
"""Contents whose checks and whereabouts are remembered."""

_TRIES = 2
"""Processes that a render gets, when what ended the first one was not the template's doing."""

_WHERE_LIBRARIES_ARE = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Without these some installations of Python do not start."""

_ENDED_FROM_OUTSIDE = {0, *(-number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP))}
"""Exit codes that say nothing of a template: an operator, the system (short of memory), or we, who waited in vain."""


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """What one render may use: CPU seconds, bytes of memory of its process, bytes of output; seconds by the clock."""

    cpu: float = 0.5
    memory: int = 512 * 1024 * 1024
    output: int = 512 * 1024
    patience: float = 10.0
    """By the clock, generous, and no verdict on the template: a busy or stopped machine renders it another time."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An e-mail ready to be sent. `missing` names values that the template printed and the context lacked."""

    subject: str
    preheader: str
    html: str
    text: str
    missing: tuple[str, ...] = ()


class _Child:
    """One rendering process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._known: OrderedDict[str, None] = OrderedDict()
        self._is_ready = False

    @classmethod
    async def spawn(cls, limits: RenderLimits) -> Self:
        """Start one; its environment says where libraries are and nothing else: no template ever sees our secrets."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", "connectors.rendering.child",
            str(limits.memory), str(limits.output), str(limits.cpu),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _WHERE_LIBRARIES_ARE if name in os.environ},
        )  # fmt: skip
        return cls(process)

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request, one reply. Raises EOFError or ConnectionError when the process dies."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018  both are pipes
        if not self._is_ready:
            await self._process.stdout.readexactly(4)
            self._is_ready = True
        payload = orjson.dumps(request, option=orjson.OPT_NON_STR_KEYS)
        self._process.stdin.write(len(payload).to_bytes(4, "big") + payload)
        await self._process.stdin.drain()
        size = int.from_bytes(await self._process.stdout.readexactly(4), "big")
        reply: dict[str, Any] = orjson.loads(await self._process.stdout.readexactly(size))
        return reply

    def verdict(self, exit_code: int) -> TemplateFailed | None:
        """What its end says of the template; None when the template was not to blame (killed, starved, not begun)."""
        if exit_code == -signal.SIGPROF:
            return TemplateFailed("The template takes too long to render; does it loop?", code="template_too_slow")
        if not self._is_ready or exit_code in _ENDED_FROM_OUTSIDE:
            return None
        return TemplateFailed("The template crashed its renderer; is it nested very deeply?", code="template_crashed")

    async def email(self, key: str, content: EmailContent, context: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in an e-mail; its source is sent only where this process does not have it yet."""
        request = {"op": "email", "key": key, "context": context}
        reply = await self.ask(request if key in self._known else request | {"content": asdict(content)})
        if reply.get("unknown"):
            reply = await self.ask(request | {"content": asdict(content)})
        self._known[key] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return reply

    async def end(self) -> int:
        """Kill the process; its exit code (negative: the signal that ended it, if it had died before)."""
        if self._process.returncode is None:
            # Not Process.kill(), which reaps a dying child behind asyncio's back, so that its exit code is lost.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.wait_closed()
        return code


class Renderer:
    """Renders e-mails and strings. Construct it anywhere; `start()` warms it, `close()` ends its processes."""

    def __init__(self, *, processes: int = 2, limits: RenderLimits | None = None) -> None:
        self._limits = limits or RenderLimits()
        self._size = processes
        self._idle: asyncio.Queue[_Child | None] = asyncio.Queue()
        self._living: set[_Child] = set()
        self._checked: OrderedDict[EmailContent, str] = OrderedDict()
        for _ in range(processes):
            self._idle.put_nowait(None)  # started when first used

    async def start(self) -> None:
        """Start all processes ahead of the first message."""
        places = [await self._idle.get() for _ in range(self._size)]
        for child in await asyncio.gather(*(self._alive(child) for child in places)):
            self._idle.put_nowait(child)

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(child.end() for child in self._living))
        self._living.clear()

    async def render(self, content: EmailContent, context: Mapping[str, Any]) -> Rendered:
        """Fill in one e-mail with plain data.

        Raises TemplateFailed with the code of what went wrong, and Unavailable when nothing rendered it this time.
        """
        key = self._key(content)
        reply = await self._with_child(lambda child: child.email(key, content, context))
        return Rendered(**reply["value"], missing=tuple(reply["missing"]))

    async def render_strings(self, value: Any, context: Mapping[str, Any]) -> Any:
        """Any JSON value with the expressions in its strings filled in.

        A string that is one single `{{ expression }}` becomes that value with its type (null when it is missing).
        """
        sources = list(_sources(value))
        if not sources:
            return value
        _refuse_faults(*sources)
        reply = await self._with_child(lambda child: child.ask({"op": "strings", "value": value, "context": context}))
        return reply["value"]

    async def render_text(self, source: str, context: Mapping[str, Any]) -> str:
        """One string with its expressions filled in, as text."""
        value = await self.render_strings(source, context)
        return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()

    def _key(self, content: EmailContent) -> str:
        """The name of a content that the allow-list has let through."""
        key = self._checked.get(content)
        if key is None:
            sources = (content.subject, content.preheader, content.mjml, content.html, content.text)
            _refuse_faults(*filter(None, sources))
            key = self._checked[content] = hashlib.sha256(orjson.dumps(content)).hexdigest()
            if len(self._checked) > _REMEMBERED:
                self._checked.popitem(last=False)
        return key

    async def _with_child(self, ask: Callable[[_Child], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        for _ in range(_TRIES):
            reply = await self._try(ask)
            if reply is not None and reply.get("code") == TemplateAborted.code:
                raise TemplateAborted(reply["detail"])
            if reply is not None and "code" in reply:
                raise TemplateFailed(reply["detail"], code=reply["code"])
            if reply is not None:
                return reply
        raise Unavailable("No rendering process answered; the machine is too busy. Try again.", code="renderer_busy")

    async def _try(self, ask: Callable[[_Child], Awaitable[dict[str, Any]]]) -> dict[str, Any] | None:
        """The reply of one process; None when it gave none, for no fault of the template. Raises TemplateFailed."""
        child = await self._alive(await self._idle.get())
        healthy = False
        try:
            async with asyncio.timeout(self._limits.patience):
                reply = await ask(child)
            healthy = True
        except (EOFError, ConnectionError, TimeoutError):
            if (verdict := child.verdict(await child.end())) is not None:
                raise verdict from None
            return None
        finally:
            if not healthy:
                await self._bury(child)
            self._idle.put_nowait(child if healthy else None)
        return reply

    async def _alive(self, child: _Child | None) -> _Child:
        if child is not None:
            return child
        try:
            born = await _Child.spawn(self._limits)
        except BaseException:
            self._idle.put_nowait(None)
            raise
        self._living.add(born)
        return born

    async def _bury(self, child: _Child) -> None:
        self._living.discard(child)
        await child.end()


def _refuse_faults(*sources: str) -> None:
    """The allow-list, once more: whatever way a source took, it is never run unchecked."""
    for source in sources:
        for fault in faults(source):
            if fault.severity is Severity.ERROR:
                raise TemplateFailed(fault.message, code=fault.code)


def has_expressions(value: Any) -> bool:
    """Whether there is anything in a JSON value to fill in."""
    return any(True for _ in _sources(value))


def _sources(value: Any) -> Iterator[str]:
    """The strings of a JSON value that hold expressions."""
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _sources(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _sources(inner)
