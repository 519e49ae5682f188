"""How endpoints are reached: headers, query, proxies, addresses, and keys that are none."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from engine.errors import ConfigError, SemanticsError
from engine.events import ApiCalled
from engine.semantics.llm.attempts import AttemptResult, EndpointClient
from engine.semantics.llm.budget import Budget
from engine.semantics.llm.connection import http_options, is_loopback
from engine.semantics.llm.endpoints import Endpoint, find_endpoint, find_key

from .conftest import KEY
from .replies import always, document, good, refusal
from .test_client import Job


def test_headers_and_query_of_an_entry_are_sent_with_the_key_in_its_place(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-shell")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-the-shell")
    seen: list[tuple[str, dict[str, str]]] = []

    def reply(line: str, headers: dict[str, str], body: Any) -> Any:
        seen.append((line, headers))
        return 200, document(body, good(body))

    fields = {
        "key_env": "FAKE_KEY",
        "headers": {"api-key": "{key}", "X-Title": "sracl"},
        "query": {"api-version": "2024-10-21"},
    }
    Job(tmp_path, serve(reply=reply), **fields).run(count=1)
    line, headers = seen[0]
    assert line.split()[1] == "/v1/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == KEY
    assert headers["x-title"] == "sracl"
    assert not {"openai-organization", "openai-project"} & set(headers)


def test_this_machine_is_not_reached_by_the_proxy_of_the_shell(serve, tmp_path, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    job = Job(tmp_path, serve())
    job.run(count=1)
    assert job.column(ApiCalled, "status") == [200]


def test_the_proxy_of_an_entry_is_used(serve, tmp_path) -> None:
    lines: list[str] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        lines.append(line)
        return 200, document(body, good(body))

    server = serve(reply=reply)
    proxy = server.url.removesuffix("/v1")
    Job(tmp_path, server, base_url="http://models.example/v1", proxy=proxy).run(count=1)
    assert lines[0].split()[1] == "http://models.example/v1/chat/completions"


@pytest.mark.parametrize("status", [200, 407])
def test_the_password_of_a_proxy_is_used_and_never_told(serve, tmp_path, monkeypatch, caplog, status: int) -> None:
    seen: list[str] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        seen.append(headers["proxy-authorization"])
        return (
            (200, document(body, good(body)))
            if status == 200
            else (407, f"no {seen[0]}, us:er p@ss:w\u00f6rd, p%40ss:w%C3%B6rd")
        )

    server = serve(reply=reply)
    proxy = server.url.removesuffix("/v1").replace("http://", "http://us%3Aer:p%40ss:w%C3%B6rd@")
    monkeypatch.setenv("HTTP_PROXY", proxy)
    job = Job(tmp_path, server, base_url="http://models.example/v1")
    if status == 200:
        job.run(count=1)
    else:
        with caplog.at_level("DEBUG"), pytest.raises(SemanticsError, match="HTTP 407") as caught:
            job.run(count=1)
        told = f"{caught.value} {caught.value.hint} {job.column(ApiCalled, 'error')} {caplog.text}"
        assert not [word for word in ("p@ss", "p%40ss", seen[0].split()[1]) if word in told], told
    assert base64.b64decode(seen[0].split()[1]).decode() == "us:er:p@ss:w\u00f6rd"


def test_a_proxy_of_the_shell_that_is_none_is_an_error_in_words(tmp_path, serve, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    with pytest.raises(SemanticsError, match=r"no connection can be made[\s\S]*HTTPS_PROXY"):
        Job(tmp_path, serve(), base_url="http://models.example/v1").run(count=1)


def test_where_a_server_redirects_to_is_told(serve, tmp_path) -> None:
    server = serve(reply=always(lambda body: (307, "", {"location": "https://elsewhere.example/v1/chat/completions"})))
    with pytest.raises(SemanticsError, match=r"redirects to https://elsewhere.example[\s\S]*base_url"):
        Job(tmp_path, server).run(count=1)


def test_the_words_of_a_page_of_html_are_told(serve, tmp_path) -> None:
    page = "<html><head><style>p {color: red}</style></head><body><h1>403 Forbidden</h1><p>Ask &amp; wait</p></body></html>"
    with pytest.raises(SemanticsError, match="HTTP 403: 403 Forbidden Ask & wait"):
        Job(tmp_path, serve(reply=always(lambda body: (403, page)))).run(count=1)


URLS = {
    " HTTP://127.0.0.1:8080/v1/ ": "http://127.0.0.1:8080/v1", "HTTPS://api.example.com": "https://api.example.com",
    "http://[::1]:8080/v1": "http://[::1]:8080/v1",
    "https://x.example/v1/chat/completions": "https://x.example/v1", "https://x.example/v1/chat/completions/": "https://x.example/v1",
    "https://x.example/v1/Embeddings": "https://x.example/v1", "https://x.example/v1//": "https://x.example/v1",
    "http://127.0.0.1:0/v1": None,
    "http://127.0.0.1:99999/v1": None, "http://127.0.0.1:port/v1": None, "http://": None, "ftp://x/v1": None, "x.example/v1": None,
    "https://user:word@x.example": None, "https://x.example/v1?api-version=1": None, "http://a b/v1": None, "http://[::1/v1": None,
    "http://x.example/v1\nb": None,
}  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_addresses_are_tidied_or_refused(tmp_path: Path, url: str) -> None:
    (tmp_path / "providers.toml").write_text(f"[x]\nbase_url = {json.dumps(url)}\n")
    if (want := URLS[url]) is not None:
        assert find_endpoint("x", tmp_path).base_url == want
    else:
        with pytest.raises(ConfigError, match=r"x\.base_url"):
            find_endpoint("x", tmp_path)


EVERY = ".".join("0000")
"""The address of every interface, which no source may name to bind to."""


@pytest.mark.parametrize(("url", "here"), [("http://127.0.0.2/v1", True), ("http://localhost:1/v1", True), ("http://[::1]/v1", True),
    (f"http://{EVERY}/v1", True), ("http://127.1/v1", True), ("http://0x7f000001:1/v1", True), ("http://[::ffff:127.0.0.1]/v1", True),
    ("http://localhost./v1", True), ("http://10.1/v1", False), ("http://abc/v1", False), ("http://127.example.com/v1", False), ("https://10.0.0.1/v1", False)])  # fmt: skip
def test_this_machine_is_told_from_others(url, here) -> None:
    assert is_loopback(url) == here
    assert http_options(Endpoint(base_url=url))["trust_env"] is not here


@pytest.mark.parametrize(
    "odd", ["sk-a\nbc", "“sk-abc”", "sk abc", "sk-a\x00bc", "sk-ä", "sk-a\tb", '"sk-abc"', "'sk-abc'", "Bearer sk-abc"]
)
def test_a_key_that_is_none_is_refused_before_any_call_and_not_shown(tmp_path, monkeypatch, odd) -> None:
    monkeypatch.setattr("engine.semantics.llm.endpoints.os.environ", {"FAKE_KEY": odd})
    with pytest.raises(ConfigError, match="line break, a blank or a letter") as caught:
        find_key("x", Endpoint(base_url="http://x.example", key_env="FAKE_KEY"), tmp_path)
    assert "abc" not in str(caught.value)
    assert odd not in str(caught.value)


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_key_of_blanks_is_not_set(tmp_path, monkeypatch, blank) -> None:
    monkeypatch.setattr("engine.semantics.llm.endpoints.os.environ", {"FAKE_KEY": blank})
    with pytest.raises(ConfigError, match="FAKE_KEY is not set"):
        find_key("x", Endpoint(base_url="http://x.example", key_env="FAKE_KEY"), tmp_path)


FORMS = [
    str, repr, json.dumps, lambda key: quote(key, safe=""), lambda key: base64.b64encode(key.encode()).decode(),
    lambda key: json.dumps(json.dumps(key)), lambda key: quote(quote(key, safe=""), safe=""), html.escape,
    lambda key: key.encode().hex(), lambda key: key.encode().hex().upper(), lambda key: repr(key.encode()),
]  # fmt: skip
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40)


@settings(max_examples=200, deadline=None)
@given(key=PRINTABLE, form=st.sampled_from(FORMS), before=st.text("xyz ", max_size=5))
def test_a_key_is_redacted_in_every_form(key: str, form: Any, before: str) -> None:
    endpoint = Endpoint(base_url="http://x.example")
    client = EndpointClient("x", endpoint, SecretStr(key), Budget(endpoint, "m"))
    shown = client._scrub(f"{before}{form(key)} end")
    assert form(key).strip("\"'=") not in shown
    assert shown.startswith(before)


@settings(max_examples=100, deadline=None)
@given(key=PRINTABLE, before=st.binary(max_size=7), after=st.binary(max_size=7), url=st.booleans())
def test_a_key_inside_a_longer_text_in_base64_is_redacted(key: str, before: bytes, after: bytes, url: bool) -> None:
    endpoint = Endpoint(base_url="http://x.example")
    client = EndpointClient("x", endpoint, SecretStr(key), Budget(endpoint, "m"))
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    shown = client._scrub(encode(before + key.encode() + after).decode())
    assert "***" in shown
    assert len(shown.replace("***", "")) <= 4 * (len(before) + len(after)) / 3 + 8


@pytest.mark.parametrize("place", [270, 285, 299])
def test_no_part_of_a_key_is_left_where_words_are_cut(place: int) -> None:
    endpoint = Endpoint(base_url="http://x.example")
    client = EndpointClient("x", endpoint, SecretStr(KEY), Budget(endpoint, "m"))
    said = {"error": {"message": "x" * place + KEY}}
    for content in (
        json.dumps(said).encode(),
        b"y" * place + KEY.encode(),
        json.dumps({"choices": [], "detail": said}).encode(),
    ):
        result = AttemptResult(200, headers={})
        client._parse(content, result)
        assert KEY[:6] not in result.message


def test_an_answer_that_repeats_the_key_is_kept_without_it() -> None:
    endpoint = Endpoint(base_url="http://x.example")
    client = EndpointClient("x", endpoint, SecretStr(KEY), Budget(endpoint, "m"))
    result = AttemptResult(200, headers={})
    client._parse(
        json.dumps({"choices": [{"message": {"content": f"Key {KEY}."}, "finish_reason": f"stop {KEY}"}]}).encode(),
        result,
    )
    assert result.text == "Key ***."
    assert result.finish_reason == "stop ***"


def test_a_key_in_the_words_of_an_error_is_redacted(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)
    encoded = base64.b64encode(f":{KEY}".encode()).decode()
    server = serve(reply=always(lambda body: refusal(401, f"no such key: {KEY!r} {encoded}")))
    with pytest.raises(SemanticsError, match="HTTP 401") as caught:
        Job(tmp_path, server, key_env="FAKE_KEY").run(count=1)
    assert KEY not in str(caught.value)
    assert encoded.rstrip("=") not in str(caught.value)
