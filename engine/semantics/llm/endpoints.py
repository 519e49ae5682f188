"""Named endpoints: any server with OpenAI's chat completions API, built in or from `providers.toml` in the home.

Keys are never in that file: they come from an environment variable, from `.env` in the home, or from the keyring.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from engine.config_files import merge
from engine.errors import ConfigError
from engine.extension_points import PROVIDERS
from engine.files import read_regular
from engine.sections import Section

FILE = "providers.toml"
_QUOTES = frozenset(" \"'`")
NO_KEY = "No key? A small model on this machine needs none: `sracl llm install`, `sracl llm serve`, then provider=llamacpp llm=smollm2."
"""What to do without a key, for hints."""


class PriceTable(Section):
    """US dollars per million tokens."""

    input: float = Field(ge=0)
    """Prompt tokens."""
    output: float = Field(ge=0)
    """Answer tokens."""
    cached: float | None = Field(default=None, ge=0)
    """Prompt tokens in the provider's cache; None means the price of other prompt tokens."""


class Limits(Section):
    """Limits on the calls to an endpoint, and on the attempts of a prompt."""

    concurrency: int = Field(default=64, ge=1, le=512)
    """Maximum number of calls in flight."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """None means the limit in the server's headers, if any."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Prompt and answer tokens together; None means the limit in the server's headers, if any."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds until an attempt counts as failed."""
    attempts: int = Field(default=8, ge=1, le=100)
    """Maximum attempts of one prompt that fail at the server or the connection."""
    answers: int = Field(default=3, ge=1, le=10)
    """Maximum unusable answers to one prompt (empty, refused, truncated, too long, wrong JSON)."""


class BatchApi(Section):
    """A provider's Batch API: files of requests, answered within a day at a lower price."""

    price_factor: float = Field(default=0.5, gt=0, le=1)
    """Factor on the prices of single calls."""
    requests: int = Field(default=50_000, ge=1)
    """Maximum requests in a batch."""
    megabytes: float = Field(default=190.0, gt=0)
    """Maximum size of the file of requests, in 10^6 bytes."""
    window: str = "24h"
    """Completion window that is requested from the provider."""
    poll_seconds: float = Field(default=60.0, gt=0)
    """Seconds between two polls of a batch's status."""


class Endpoint(Section):
    """One entry of `providers.toml`."""

    base_url: str
    """Such as `https://api.example.com/v1`."""
    replicas: tuple[str, ...] = ()
    """Further servers of the same models, among which single calls are shared; batches go to `base_url`."""
    model: str | None = None
    """Default model, if `semantics.llm` names none."""
    prompt: str | dict[str, str] | None = None
    """Prompt where `semantics.prompt` is `auto`: of all models, or by model (`{smollm2 = "choices-1"}`); None leaves it to the
    dataset's domain."""
    key_env: str | None = None
    """Environment variable with the API key; None for a server that needs no key."""
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """None leaves it out of the request."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """None leaves it out of the request."""
    max_tokens: int = Field(default=400, ge=16)
    """Maximum tokens of an answer; the upper bound of a call's cost depends on it."""
    tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of that limit in a request."""
    structured: Literal["schema", "object", "off"] = "off"
    """How a request asks for JSON: with a schema, as any JSON object, or in the prompt only."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request body."""
    prices: PriceTable | None = None
    """Overrides the built-in price list."""
    limits: Limits = Limits()
    batch: BatchApi | None = None
    """None if the provider has no Batch API."""
    local: bool = False
    """Whether calls cost nothing, as on your own machine."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers; `{key}` in one stands for the key (`api-key = "{key}"` at Azure)."""
    texts_at_once: int = Field(default=64, ge=1, le=2048)
    """Most texts of one embedding request; where a server refuses so many, requests are halved until they fit."""
    query: dict[str, str] = Field(default_factory=dict)
    """Query of the URL, such as Azure's `api-version`; `{key}` as in `headers`."""
    proxy: str | None = None
    """URL of the proxy; None takes that of the environment (HTTPS_PROXY), and none for this machine."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        return _PATHS.sub("", _checked_url(value, {"http", "https"}).rstrip("/"))

    @field_validator("replicas")
    @classmethod
    def _plain_urls(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cls._plain_url(value) for value in values))

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of all its servers."""
        return tuple(dict.fromkeys((self.base_url, *self.replicas)))

    @field_validator("proxy")
    @classmethod
    def _plain_proxy(cls, value: str | None) -> str | None:
        return None if value is None else _checked_url(value, {"http", "https"})

    @field_validator("headers", "query")
    @classmethod
    def _one_line(cls, fields: dict[str, str]) -> dict[str, str]:
        odd = [name for name, text in fields.items() if not (name + text).isascii() or not (name + text).isprintable()]
        if odd:
            raise ValueError(f"{odd[0]!r} must be printable ASCII")
        return fields

    @model_validator(mode="after")
    def _one_price(self) -> Endpoint:
        if self.local and self.prices is not None:
            raise ValueError("local = true means that calls cost nothing: remove prices")
        return self

    def prompt_of(self, model: str) -> str | None:
        """The prompt that this entry names for a model; None if it names none."""
        return self.prompt.get(model) if isinstance(self.prompt, dict) else self.prompt


_PATHS = re.compile(r"(?:/+(?:chat/completions|completions|embeddings|responses|models))?/*$", re.IGNORECASE)
"""Ends of a URL that are added for each request: what a documentation shows is often the whole address."""


def _checked_url(value: str, schemes: set[str]) -> str:
    """A URL without blanks around it, with its scheme in lower case; raises ValueError if nothing can be reached by it."""
    value = value.strip()
    scheme, mark, rest = value.partition("://")
    value = scheme.lower() + mark + rest
    if scheme.lower() not in schemes or not mark:
        raise ValueError("must start with http:// or https://")
    if "@" in value or "?" in value or "#" in value:
        raise ValueError(
            "must not contain a user, password or query; name the key's variable in key_env, and give `query` on its own"
        )
    if any(letter.isspace() or not letter.isprintable() for letter in value):
        raise ValueError("must not contain blanks")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from None
    if not host:
        raise ValueError("names no server")
    if port == 0:
        raise ValueError("is no URL: there is no port 0")
    return value


READY: dict[str, dict[str, Any]] = {
    "deepseek": {
        "base_url": "https://api.deepseek.com",
        "model": "deepseek-v4-flash",
        "key_env": "DEEPSEEK_API_KEY",
        "structured": "object",
        "extra_body": {"thinking": {"type": "disabled"}},
    },
    "openai": {
        "base_url": "https://api.openai.com/v1",
        "model": "gpt-4.1-nano",
        "key_env": "OPENAI_API_KEY",
        "structured": "schema",
        "batch": {},
    },
    "vllm": {"base_url": "http://127.0.0.1:8000/v1", "structured": "schema", "local": True},
    "llamacpp": {
        "base_url": "http://127.0.0.1:8080/v1",
        "prompt": {"smollm2": "choices-1"},
        "structured": "schema",
        "local": True,
        "limits": {"concurrency": 4, "timeout": 300.0},
    },
}
"""Built-in entries; an entry of the same name in providers.toml overrides single fields."""


def read_endpoints(home: Path | None) -> dict[str, Endpoint]:
    """Every endpoint by name: built-in ones, and those of the home's `providers.toml`.

    Raises:
        ConfigError: all problems of the file at once.
    """
    path = None if home is None else home / FILE
    own = _read(path) if path is not None and path.exists() else {}
    problems: list[str] = []
    found: dict[str, Endpoint] = {}
    reserved = PROVIDERS.names() if own else []
    for name in [*READY, *(name for name in own if name not in READY)]:
        entry = own.get(name, {})
        if name in reserved or not isinstance(entry, Mapping):
            problems.append(f"{name}: {'this name is reserved' if name in reserved else 'must be a table, [NAME]'}")
            continue
        try:
            found[name] = Endpoint.model_validate(merge(READY.get(name, {}), dict(entry)))
        except ValidationError as error:
            problems += [_explain(name, e) for e in error.errors()]
    if problems:
        raise ConfigError("\n".join(problems), where=str(path), hint="Fields and an example: docs/llm.md.")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(path))
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"not readable as TOML: {error}", where=str(path)) from None


def _explain(name: str, error: Any) -> str:
    path = ".".join([name, *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        secret = "key" in str(error["loc"][-1])  # never repeat the value: it may be a key
        return f"{path}: unknown field" + (
            "; this file must not contain keys: name an environment variable in key_env" if secret else ""
        )
    message = error["msg"].removeprefix("Value error, ")
    return f"{path}: {message[0].lower()}{message[1:]}"


def find_endpoint(name: str, home: Path | None) -> Endpoint:
    """The endpoint of a name, as read from the home's `providers.toml`.

    Raises:
        ConfigError: no endpoint has the name, or the file has problems.
    """
    found = read_endpoints(home)
    if name not in found:
        raise ConfigError(
            f"there is no provider {name!r}",
            where="semantics.provider",
            hint=f"Without a network: {', '.join(PROVIDERS.names())}. Endpoints: {', '.join(found)}; add others to {FILE} in the home (docs/llm.md).",
        )
    return found[name]


def find_key(name: str, endpoint: Endpoint, home: Path | None) -> SecretStr | None:
    """An endpoint's API key: from the environment, `.env` in the home, or the keyring; None if it needs none.

    Raises:
        ConfigError: it needs a key and none is set.
    """
    if endpoint.key_env is None:
        return None
    own = endpoint.key_env
    places = (lambda: os.environ.get(own), lambda: read_dotenv(home).get(own), lambda: _keyring(name))
    value = next((found for place in places if (found := (place() or "").strip())), None)
    if value is None:
        raise ConfigError(
            f"no key for {name!r}: {endpoint.key_env} is not set",
            where=f"{name}.key_env",
            hint=f"Set {endpoint.key_env} in the environment or in .env in the home, or run: keyring set sracl {name}. {NO_KEY}",
        )
    if not value.isascii() or not value.isprintable() or not _QUOTES.isdisjoint(value):  # never repeat the value
        raise ConfigError(
            f"the key of {name!r} has a line break, a blank or a letter that no key has (a quotation mark, copied along?)",
            where=endpoint.key_env,
            hint="Copy the key anew, as one word, without quotation marks and without `Bearer`.",
        )
    return SecretStr(value)


def read_dotenv(home: Path | None) -> dict[str, str]:
    """`NAME=value` lines of the home's `.env`, without quotes around values and without a leading `export`."""
    path = None if home is None else home / ".env"
    if path is None or not path.is_file():
        return {}
    found: dict[str, str] = {}
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else value
    return found


def _keyring(name: str) -> str | None:
    try:
        import keyring  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    try:
        return keyring.get_password("sracl", name)
    except Exception:  # a keyring without a backend raises exceptions of its own
        return None
