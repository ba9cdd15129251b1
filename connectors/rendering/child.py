"""The child process that renders: length-prefixed JSON in on stdin, JSON out on stdout, nothing else within reach.

It starts with an empty environment and closes what it does not need. A kernel timer counts the CPU time of each
request and ends the process when it is used up, also inside C or Rust code; the parent starts another.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, BinaryIO  # requests and contexts are any JSON

import orjson
from jinja2 import TemplateError

from connectors.rendering import sandbox
from connectors.rendering.compiled import CompiledEmail, compile_email, fill_strings
from connectors.rendering.mjml import MjmlError
from domain.errors import TemplateAborted
from domain.template_abort import AbortedError

_CACHED = 200
_cache: OrderedDict[str, CompiledEmail] = OrderedDict()


class _UnknownKeyError(Exception):
    """The parent thinks that we have a template which we have dropped."""


def main(memory: int, output: int, cpu: float) -> None:
    """Serve until stdin ends. `memory` and `output` in bytes, `cpu` in seconds for each request."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _close_standard_streams()
    answer({"op": "warm"}, output)
    _limit(memory)
    _send(replies, b"")  # ready: from here on, what ends this process is a template's doing or an outsider's
    while header := requests.read(4):
        request = orjson.loads(requests.read(int.from_bytes(header, "big")))
        signal.setitimer(signal.ITIMER_PROF, cpu)
        reply = orjson.dumps(answer(request, output))
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(replies, reply)


def _send(replies: BinaryIO, reply: bytes) -> None:
    replies.write(len(reply).to_bytes(4, "big") + reply)
    replies.flush()


def answer(request: Mapping[str, Any], output: int) -> dict[str, Any]:
    """The reply to one request: `{"value": ..., "missing": [...]}`, `{"unknown": true}` or `{"code", "detail"}`."""
    sandbox.missing.clear()
    try:
        value = _perform(request)
        if _size(value) > output:
            return _failure("template_too_large", f"The result is larger than {output // 1024} KB.")
    except _UnknownKeyError:
        return {"unknown": True}
    except (AbortedError, MjmlError) as error:
        return _failure(TemplateAborted.code if isinstance(error, AbortedError) else "mjml_error", str(error))
    except MemoryError:
        return _failure("template_too_large", "The template needs more memory than it may use.")
    except RecursionError:
        return _failure("template_too_deep", "The template is nested too deeply.")
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        return _failure("template_error", f"Line {line}: {error.message}" if line else str(error.message))
    except Exception as error:  # noqa: BLE001  whatever a template does is the template's fault; this is its process's edge
        return _failure("template_error", f"{type(error).__name__}: {error}"[:500])
    return {"value": value, "missing": list(sandbox.missing)[:50]}


def _perform(request: Mapping[str, Any]) -> Any:
    match request["op"]:
        case "email":
            return _compiled(request["key"], request.get("content")).fill(_without_nulls(request["context"]))
        case "strings":
            return fill_strings(request["value"], _without_nulls(request["context"]))
        case _:  # "warm": what makes the first render slow is done once
            subject = "{{ shop.total|money('EUR') }}{{ 'Preferences'|translate }}"
            sample = {"subject": subject, "preheader": "", "html": "<p>x</p>", "language": "en"}
            return compile_email(sample).fill({"shop": {"total": 1}})


def _compiled(key: str, content: Mapping[str, Any] | None) -> CompiledEmail:
    if key in _cache:
        _cache.move_to_end(key)
        return _cache[key]
    if content is None:
        raise _UnknownKeyError
    _cache[key] = compile_email(content)
    if len(_cache) > _CACHED:
        _cache.popitem(last=False)
    return _cache[key]


def _size(value: Any) -> int:
    """About how large a result is; an e-mail's parts are all text, which needs no serialising to be measured."""
    if isinstance(value, dict) and all(isinstance(part, str) for part in value.values()):
        return sum(map(len, value.values()))
    return len(orjson.dumps(value))


def _without_nulls(value: Any) -> Any:
    """Null counts as missing, as in conditions, so that `age > 18` is false for a null age and no error."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _failure(code: str, detail: str) -> dict[str, Any]:
    return {"code": code, "detail": detail}


def _close_standard_streams() -> None:
    """Nothing that is printed by accident may end up between the replies."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _limit(memory: int) -> None:
    """No core dumps, no files, no children, no more memory than `memory` bytes (macOS does not count address space)."""
    limits = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NPROC": 0}
    if sys.platform == "linux":
        limits["RLIMIT_AS"] = memory
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
