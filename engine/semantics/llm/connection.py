"""How an endpoint is reached: HTTP options, headers and query of its entry, and its key, which is checked before any call."""

from __future__ import annotations

import base64
import html
import ipaddress
import json
import re
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies

from pydantic import SecretStr

from engine.errors import SemanticsError
from engine.semantics.llm.endpoints import Endpoint

LONG_KEY = 12
"""Letters from which on a key is no word that answers have of themselves (`none`, `EMPTY`)."""
SHORTEST_PASSWORD = 6
"""A shorter one may stand in ordinary words, and is hidden behind its user's name alone."""
_EITHER = {"+": "[+-]", "/": "[/_]"}
"""Letters of base64 that are others in URLs."""
MOST_BYTES = 64_000_000
"""Of the body of a response, unpacked; 2,048 vectors of 4,096 numbers have 45 million as base64."""
KEY_PLACE = "{key}"
"""In a header or query of an entry: where the key stands."""


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine, to which no proxy leads."""
    host = (urlsplit(url).hostname or "").lower().rstrip(".").partition("%")[0]
    if host in ("localhost", "localhost.localdomain") or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))  # 127.1, 0x7f000001, 0
        except (OSError, UnicodeError):
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def http_options(endpoint: Endpoint) -> dict[str, Any]:
    """Arguments of an HTTP client: the proxy of the entry, none for this machine, else that of the environment."""
    if endpoint.proxy is not None:
        return {"proxy": endpoint.proxy, "trust_env": False}
    return {"trust_env": not is_loopback(endpoint.base_url)}


def client_options(endpoint: Endpoint, key: SecretStr | None) -> dict[str, Any]:
    """Arguments of the openai package's client: key, headers and query, with the key in its place."""
    value = key.get_secret_value() if key else "none"

    def filled(fields: dict[str, str]) -> dict[str, str]:
        return {name: text.replace(KEY_PLACE, value) for name, text in fields.items()}

    return {
        "api_key": value,
        "base_url": endpoint.base_url,
        "max_retries": 0,
        "default_headers": filled(endpoint.headers),
        "default_query": filled(endpoint.query),
    }


async def bound(response: Any) -> None:
    """A hook of the HTTP client: an answer without an end, also one that is packed, is broken off before it fills the memory."""
    unpacked = response.aiter_bytes

    async def bounded(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        size = 0
        async for part in unpacked(chunk_size):
            size += len(part)
            if size > MOST_BYTES:
                raise ValueError(f"the answer is larger than {MOST_BYTES // 10**6} MB")
            yield part

    response.aiter_bytes = bounded


def no_connection(words: str, endpoint: Endpoint) -> SemanticsError:
    """The error of an HTTP client that cannot be made."""
    return SemanticsError(
        f"no connection can be made: {words}",
        where=endpoint.base_url,
        hint="Check proxy in providers.toml, and HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE in the shell.",
    )


def forget_shell(client: Any) -> None:
    """Take out of a client what it has read from OPENAI_ORG_ID and OPENAI_PROJECT_ID: they are of one provider only."""
    client.organization = client.project = None


def proxy_secrets() -> list[str]:
    """What must not be told of the proxies of the shell: user and password as one, and passwords too long to be a word."""
    found: list[str] = []
    for url in getproxies().values():
        try:
            user, password = urlsplit(url).username or "", urlsplit(url).password
        except ValueError:  # a proxy that is none
            continue
        if password:
            pairs = {f"{user}:{password}", f"{unquote(user)}:{unquote(password)}"}
            found += [*pairs, *(word for word in {password, unquote(password)} if len(word) >= SHORTEST_PASSWORD)]
    return found


def forms_of(key: str) -> list[re.Pattern[str]]:
    """Patterns of a key as servers and exceptions may repeat it, longest first.

    Plain, and as Python, JSON (also twice), HTML, URLs and base64 write it; that of a longer text which holds the key, too.
    """
    raw = key.encode("utf-8", "replace")
    inside = [base64.b64encode(b"\0" * before + raw).decode() for before in range(3)]
    packed = (
        {form[-(-before * 4 // 3) : len(form) - 4] for before, form in enumerate(inside)} if len(raw) > 6 else set()
    )
    twice = json.dumps(json.dumps(key)[1:-1])[1:-1]
    escaped = ["".join(form % letter for letter in raw) for form in ("\\u%04x", "%02x", "&#%d;")]
    plain = {
        quote(quote(key, safe="")),
        *escaped,
        key,
        repr(key)[1:-1],
        json.dumps(key)[1:-1],
        twice,
        html.escape(key),
        quote(key),
        quote(key, safe=""),
    }
    flags = re.IGNORECASE if len(key) >= LONG_KEY else re.NOFLAG
    patterns = {re.escape(form): len(form) for form in plain if form}
    patterns |= {
        "".join(_EITHER.get(letter, letter) for letter in form) + "[A-Za-z0-9+/_=-]{0,4}": len(form) for form in packed
    }
    return [re.compile(form, flags) for form in sorted(patterns, key=lambda form: patterns[form], reverse=True)]
