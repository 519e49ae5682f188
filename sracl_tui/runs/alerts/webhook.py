"""Posts one JSON document to an address, with retries, in a process of its own: no run waits for it or fails with it.

The address may hold a secret: it is passed by stdin, appears in no command line, and is never logged.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from sracl_tui.version import __version__

MAX_WAIT = 60.0
RETRIED = frozenset({408, 425, 429})
"""Status codes that are retried; so is any 5xx."""


@dataclass(frozen=True)
class Post:
    """A document to post, and how it is retried."""

    url: str
    body: dict[str, Any]
    attempts: int = 5
    timeout: float = 10.0
    backoff: float = 1.0
    """Seconds before the second attempt; each further one waits twice as long."""


@dataclass(frozen=True)
class Delivery:
    """Whether the post was accepted; `reason` is the last error and never has the address."""

    delivered: bool
    attempts: int
    reason: str = ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: the document goes to the named address alone."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


def post(what: Post, *, sleep: Callable[[float], None] = time.sleep) -> Delivery:
    """Post; after an error of the network or the server again, 1, 2, 4, ... seconds later or after `Retry-After`."""
    reason = ""
    for attempt in range(1, what.attempts + 1):
        reason, wait = _once(what)
        if not reason:
            return Delivery(True, attempt)
        if wait is None:
            return Delivery(False, attempt, reason)
        if attempt < what.attempts:
            sleep(min(MAX_WAIT, max(wait, what.backoff * 2 ** (attempt - 1) * random.uniform(0.8, 1.2))))
    return Delivery(False, what.attempts, reason)


def _once(what: Post) -> tuple[str, float | None]:
    """The error of one attempt, empty for success; and the least seconds before the next, none where a retry is useless."""
    headers = {"Content-Type": "application/json", "User-Agent": f"sracl/{__version__}"}
    try:
        request = urllib.request.Request(what.url, json.dumps(what.body).encode(), headers, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=what.timeout):
            return "", None
    except urllib.error.HTTPError as error:
        after = error.headers.get("Retry-After", "") if error.headers else ""
        error.close()
        later = error.code in RETRIED or error.code >= 500
        return f"HTTP {error.code}", (float(after) if after.isdigit() else 0.0) if later else None
    except urllib.error.URLError as error:  # its text may hold the address
        return type(error.reason).__name__ if isinstance(error.reason, Exception) else "no connection", 0.0
    except (OSError, HTTPException) as error:
        return type(error).__name__, 0.0
    except ValueError:
        return "the address is none", None


def send(what: Post, home: Path) -> subprocess.Popen[bytes] | None:
    """Start a process that posts and logs the outcome in `home`; none where it cannot be started."""
    command = [sys.executable, "-P", "-m", "sracl_tui.runs.alerts.webhook"]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if process.stdin is not None:
            process.stdin.write(json.dumps({"post": asdict(what), "home": str(home)}).encode())
            process.stdin.close()
    except OSError:
        return None
    _children.append(process)
    _children[:] = [child for child in _children if child.poll() is None]
    return process


_children: list[subprocess.Popen[bytes]] = []
"""Kept so that ended children are reaped."""


def main() -> None:
    """Entry point of that process: read a Post and a home from stdin, post, and log the outcome."""
    import logging

    from sracl_tui.logs import log
    from store.home import Home

    given = json.load(sys.stdin)
    what = Post(**given["post"])
    done = post(what)
    level = logging.INFO if done.delivered else logging.WARNING
    how = "delivered" if done.delivered else "given up"
    fields = {"event": what.body.get("event"), "run": what.body.get("run_id"), "attempts": done.attempts}
    log(Home(Path(given["home"])), f"webhook {how}", level=level, **fields, reason=done.reason or None)


if __name__ == "__main__":
    main()
