"""How an endpoint is reached: HTTP options, headers and query of its entry, and its key, which is checked before any call."""

from __future__ import annotations

import base64
import ipaddress
import json
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from engine.errors import SemanticsError
from engine.semantics.llm.endpoints import Endpoint

KEY_PLACE = "{key}"
"""In a header or query of an entry: where the key stands."""


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine, to which no proxy leads."""
    host = (urlsplit(url).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
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


def forms_of(key: str) -> list[str]:
    """A key as servers and exceptions may repeat it: plain, and as Python, JSON, URLs and base64 write it; longest first."""
    raw = key.encode("utf-8", "replace")
    basic = [base64.b64encode(part).decode().rstrip("=") for part in (raw, b":" + raw, raw + b":")]
    forms = {key, repr(key)[1:-1], json.dumps(key)[1:-1], quote(key, safe=""), quote(key), *basic}
    return sorted((form for form in forms if form), key=len, reverse=True)
