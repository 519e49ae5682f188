"""Bodies of responses as servers, gateways and proxies send them: what is paid for is read, anything else is told in the server's words."""

from __future__ import annotations

import gzip
import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SemanticsError
from engine.events import SummariesMade
from engine.semantics.llm.answer_validation import Validation
from engine.semantics.llm.attempts import AttemptResult, EndpointClient, RequestState
from engine.semantics.llm.client import REFUSED_IN_ROW
from engine.semantics.llm.endpoints import Endpoint
from tests.support.openai_server import OK_ITEM, OK_USER

from .replies import document, refusal
from .test_client import Job

BODY = {"model": "m", "messages": [{"content": "hi there, what do they like?"}, {"content": "pens"}]}


def read(
    content: bytes | str | dict[str, Any], kind: Any = "user", *, status: int = 200, headers: Any = None
) -> tuple[AttemptResult, Validation | None]:
    """What a client makes of a body."""
    client = EndpointClient("x", Endpoint(base_url="http://127.0.0.1:1/v1", model="m"), None, cast(Any, None))
    result = AttemptResult(status, headers=headers or {})
    raw = (
        content
        if isinstance(content, bytes)
        else content.encode()
        if isinstance(content, str)
        else json.dumps(content).encode()
    )
    client._parse(raw, result)
    return result, client._judge(RequestState("k", kind), result)


def said(content: Any = OK_USER, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return document(BODY, content, finish, **more)


def events(*trees: Any) -> str:
    return "".join(f"data: {tree if isinstance(tree, str) else json.dumps(tree)}\n\n" for tree in trees)


def chunk(delta: dict[str, Any], finish: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    } | more


COUNTS = said()["usage"]
STREAM = events(
    chunk({"role": "assistant"}),
    chunk({"content": OK_USER[:30]}),
    chunk({"content": OK_USER[30:]}, "stop"),
    {"choices": [], "usage": COUNTS},
    "[DONE]",
)
USABLE: dict[str, tuple[Any, dict[str, Any]]] = {
    "a stream of events": (STREAM, {}),
    "a stream with comments and line ends of Windows": (": ping\n\nevent: message\n" + STREAM.replace("\n", "\r\n"), {}),
    "a stream that thinks first": (events(chunk({"reasoning_content": "Hm. "}), chunk({"content": OK_USER}, "stop"), {"usage": COUNTS}), {}),
    "a stream that says its end by its last line alone": (events(chunk({"content": OK_USER}, usage=COUNTS), "[DONE]"), {}),
    "a stream with counts in its choice": (events({"choices": [{"delta": {"content": OK_USER}, "finish_reason": "stop", "usage": COUNTS}]}), {}),
    "a stream of one whole answer": (events(said(), "[DONE]"), {}),
    "the answer twice": (json.dumps(said()) * 2, {}),
    "words before it": ("OK\n" + json.dumps(said()), {}),
    "a mark of bytes": ("\ufeff" + json.dumps(said()), {}),
    "UTF-16": (json.dumps(said()).encode("utf-16"), {}),
    "Windows-1252 that is named": (json.dumps(said(OK_USER + " Café."), ensure_ascii=False).encode("cp1252"), {"content-type": "application/json; charset=windows-1252"}),
    "Latin-1 that nobody names": (json.dumps(said(OK_USER + " Café."), ensure_ascii=False).encode("latin-1"), {}),
    "a charset that does not exist": (json.dumps(said(OK_USER + " Café."), ensure_ascii=False).encode("latin-1"), {"content-type": "text/plain; charset=utf8mb4"}),
    "blank lines before it": ("\n" * 50 + json.dumps(said()), {}),
    "text of a completion": ({"choices": [{"text": OK_USER, "finish_reason": "stop", "index": 0}], "usage": COUNTS}, {}),
    "no index": ({"choices": [{"message": {"content": OK_USER}, "finish_reason": "stop"}], "usage": COUNTS}, {}),
    "text/plain": (said(), {"content-type": "text/plain"}),
    "a code fence": (said(f"```text\n{OK_USER}\n```"), {}),
    "a fence that never ends": (said(f"```\n{OK_USER}"), {}),
    "quotation marks": (said(f"“{OK_USER}”"), {}),
    "parts with an empty one": (said([{"type": "text", "text": ""}, {"type": "output_text", "text": OK_USER}]), {}),
    "an empty error beside the answer": (said() | {"error": None}, {}),
    "no word on its end": (said(finish=None), {}),
    "an end of another kind": (said(finish=["stop"]), {}),
    "NaN in the document": (json.dumps(said()).replace('"id": "x"', '"id": NaN'), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", USABLE)
def test_an_answer_is_read_however_it_comes(name: str) -> None:
    content, headers = USABLE[name]
    result, validation = read(content, headers=headers)
    assert validation is not None, (result.error, result.message)
    assert validation.problem is None, validation
    assert validation.text in (OK_USER, f"{OK_USER} Café.")
    assert result.usage is not None


TOLD: dict[str, tuple[Any, str]] = {
    "a page": ("<html><title>Sign in</title><body>Captive portal</body></html>", "no JSON: Sign in Captive portal"),
    "nothing": ("", "the answer is empty"),
    "blanks": ("  \n", "the answer is empty"),
    "plain words": ("upstream connect error", "no JSON: upstream connect error"),
    "half a document": (json.dumps(said())[:60], "no JSON"),
    "no choices": (said() | {"choices": []}, "holds no choices"),
    "choices that are null": (said() | {"choices": None}, "holds no choices"),
    "choices that are no list": (said() | {"choices": {"0": "x"}}, "holds no choices"),
    "a list": ("[1, 2]", "holds no choices"),
    "a number": ("17", "holds no choices"),
    "an empty stream": (events("[DONE]"), "holds no answer"),
    "a stream of an error": (events({"error": {"message": "Rate limit", "code": 429}}), "Rate limit"),
    "an error in a choice": ({"choices": [{"index": 0, "error": {"code": 502, "message": "Provider disconnected"}, "message": {"content": ""}}]}, "Provider disconnected"),
    "an error as text": ({"error": "model is loading"}, "model is loading"),
    "an error with a status": ({"error": {"status": 503, "message": "busy"}}, "busy"),
    "FastAPI's": ({"detail": "Not Found"}, "no choices: Not Found"),
    "SiliconFlow's": ({"code": 50505, "message": "Model service overloaded"}, "Model service overloaded"),
    "Baidu's": ({"error_code": 17, "error_msg": "Open api daily request limit reached"}, "daily request limit"),
    "Gemini's list": ([{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}], "The model is overloaded"),
    "brackets in brackets": ("[" * 100_000, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_what_is_no_answer_is_told_in_the_servers_words(name: str) -> None:
    content, words = TOLD[name]
    result, validation = read(content)
    assert validation is None
    assert result.error is not None
    assert words in result.message, result.message


UNUSABLE = {
    "thinking alone": (said("", "length", reasoning_content="Hm"), "truncated"),
    "a stream that broke off": (events(chunk({"content": "A person who"})), "truncated"),
    "a tool call": (said(None, "tool_calls", tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]), "empty"),
    "a filter": (said("", "content_filter"), "refused"),
    "an empty list of parts": (said([]), "empty"),
    "an image": (said([{"type": "image_url", "image_url": {"url": "x"}}]), "empty"),
    "Gemini's tool failure": (said("", "MALFORMED_FUNCTION_CALL"), "failed"),
    "a refusal": (said(None, refusal="I'm sorry"), "refused"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_paid_answer_that_is_none_is_recorded_with_its_problem(name: str) -> None:
    content, problem = UNUSABLE[name]
    result, validation = read(content)
    assert (result.answered, result.error) == (True, problem)
    assert validation is not None
    assert validation.problem == problem


SPENT = {
    "Anthropic": (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}}),
    "DashScope": (400, {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."}),
    "SiliconFlow": (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
    "Volcengine": (403, {"error": {"code": "AccountOverdueError", "message": "The request failed because your account has an overdue balance."}}),
    "Moonshot": (429, {"error": {"type": "exceeded_current_quota_error", "message": "Your account is suspended, please check your plan and billing details"}}),
    "Zhipu": (429, {"error": {"code": "1113", "message": "您的账户余额不足，请充值。余额不足"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", SPENT)
def test_an_empty_account_ends_the_job_at_once_whatever_the_status(serve, tmp_path, name) -> None:
    """As a refusal of prompts it would give all that are left a rule-based text."""
    status, tree = SPENT[name]
    asked: list[Any] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        asked.append(body)
        return (200, document(body, OK_USER)) if len(asked) <= 8 else (status, tree)

    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": 4})
    with pytest.raises(SemanticsError) as caught:
        job.run(count=40)
    assert "plan and billing" in str(caught.value.hint)
    assert len(asked) <= 12
    assert not any(job.column(SummariesMade, "fallback"))


def test_a_model_that_goes_away_is_not_taken_for_many_refused_prompts(serve, tmp_path) -> None:
    asked: list[Any] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        asked.append(body)
        return (200, document(body, OK_USER)) if len(asked) <= 8 else refusal(400, "The model `m` has been deprecated.")

    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": 4})
    with pytest.raises(SemanticsError, match="deprecated"):
        job.run(count=60)
    assert len(asked) <= 8 + REFUSED_IN_ROW + 4


def test_a_key_that_is_refused_with_400_is_called_a_key(serve, tmp_path) -> None:
    tree = [
        {
            "error": {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
            }
        }
    ]
    with pytest.raises(SemanticsError, match="API key not valid") as caught:
        Job(tmp_path, serve(reply=lambda line, headers, body: (400, tree))).run(count=20)
    assert "The key was rejected" in str(caught.value.hint)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.recursive(st.none() | st.booleans() | st.floats(allow_subnormal=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage", "error", "code", "delta"]), inner, max_size=4)).map(lambda tree: json.dumps(tree).encode()),
    st.sampled_from([b"", b"data: ", b"\xef\xbb\xbf", b"ok "]), st.sampled_from(["user", "item"]))  # fmt: skip
def test_no_body_raises(content: bytes, before: bytes, kind: Any) -> None:
    result, validation = read(before + content, kind)
    assert validation is None or (validation.problem is None) == bool(validation.text)
    assert result.error is not None or validation is not None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=8), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_a_stream_is_the_same_answer_however_it_is_cut(cuts: list[int], done: bool, ends: str) -> None:
    parts, rest = [], OK_ITEM
    for cut in cuts:
        parts, rest = [*parts, rest[:cut]], rest[cut:]
    trees: list[Any] = [chunk({"content": part}) for part in (*parts, rest)]
    trees += [chunk({}, "stop"), {"choices": [], "usage": COUNTS}, *(["[DONE]"] if done else [])]
    result, validation = read(events(*trees).replace("\n", ends), "item")
    assert validation is not None
    assert (validation.problem, result.finish_reason) == (None, "stop")
    assert validation.text == "\n".join(json.loads(OK_ITEM).values())


@pytest.mark.parametrize("stuck", ["hang", "half", "504"])
def test_one_prompt_that_a_working_server_cannot_answer_is_given_up_alone(serve, tmp_path, stuck) -> None:
    first: list[str] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        first[:] = first or [body["messages"][1]["content"]]
        server.behavior.always = stuck if body["messages"][1]["content"] == first[0] else ""
        if server.behavior.always == "504":
            return 504, "<html>Gateway Time-out</html>"
        if server.behavior.always == "half":
            return 200, "<html>half"
        return None

    server = serve(hang=1.0)
    server.behavior.reply = reply
    job = Job(tmp_path, server, limits={"concurrency": 4, "attempts": 3, "timeout": 0.8})
    job.run(count=30)
    assert job.column(SummariesMade, "fallback").count(True) == 1
    assert len(job.column(SummariesMade, "key")) == len(set(job.column(SummariesMade, "key")))


def test_compressed_answers_are_read(serve, tmp_path) -> None:
    def reply(line: str, headers: Any, body: Any) -> Any:
        raw = gzip.compress(json.dumps(document(body, OK_USER)).encode())

        async def write(writer: Any) -> bool:
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {len(raw)}\r\n\r\n"
            writer.write(head.encode() + raw)
            await writer.drain()
            return True

        return write

    job = Job(tmp_path, serve(reply=reply))
    assert set(job.run(count=5)) == {OK_USER}
