"""Answers of a form that nobody documents: whatever is paid for is read or recorded, and the server's own words are told."""

from __future__ import annotations

import gzip
import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.semantics.llm.attempts import MALFORMED, RequestState
from engine.semantics.llm.batch_http import BatchHttpClient, _check_lines, _id_of, _status_of
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.llm.refusals import account_spent, concerns_prompt, words_of
from tests.support.openai_server import OK_ITEM, OK_USER

from .test_replies import COUNTS, chunk, events, read, said

GOOD = said()
CHOICE = GOOD["choices"][0]
READ: dict[str, Any] = {
    "parts with nulls and numbers": said([None, 3, {"type": "text", "text": OK_USER}]),
    "parts in parts": said([[{"type": "text", "text": OK_USER}]]),
    "a part that holds parts": said([{"type": "text", "content": [{"type": "text", "text": OK_USER}]}]),
    "a message that is text": GOOD | {"choices": [{"message": OK_USER, "finish_reason": "stop"}]},
    "a list of messages": GOOD | {"choices": [{"messages": [{"role": "assistant", "content": OK_USER}]}]},
    "choices with a null": GOOD | {"choices": [None, CHOICE]},
    "choices that are one": GOOD | {"choices": CHOICE},
    "a delta": GOOD | {"choices": [{"delta": {"content": OK_USER}, "finish_reason": "stop"}]},
    "an error of empty fields": GOOD | {"error": {"message": "", "type": "", "param": "", "code": None}},
    "an error of nulls": GOOD | {"error": {"message": None, "code": None}},
    "an error that is success": GOOD | {"error": {"code": 0, "message": "success"}},
    "an answer inside data": {"code": 200, "msg": "success", "data": GOOD},
    "an answer inside result": {"success": True, "result": GOOD},
    "an answer in a list": [GOOD],
    "JSON around a text": said(json.dumps({"summary": OK_USER})),
    "lines of chunks": "\n".join(json.dumps(one) for one in (chunk({"content": OK_USER[:9]}), chunk({"content": OK_USER[9:]}, "stop"), {"choices": [], "usage": COUNTS})),
    "a mark of bytes before a stream": "\ufeff" + events(chunk({"content": OK_USER}, "stop"), {"usage": COUNTS}),
    "a stream whose last line breaks off": events(chunk({"content": OK_USER}, "stop"), {"usage": COUNTS}) + 'data: {"choi',
    "a stream of deltas that are text": events({"choices": [{"delta": OK_USER, "finish_reason": "stop"}], "usage": COUNTS}),
    "a stream of completions": events({"choices": [{"text": OK_USER, "finish_reason": "stop"}], "usage": COUNTS}),
    "a stream of two choices": events({"choices": [{"index": 1, "delta": {"content": "no"}}]}, chunk({"content": OK_USER}, "stop"), {"usage": COUNTS}),
    "two choices in one chunk": events({"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": OK_USER}, "finish_reason": "stop"}]}, {"usage": COUNTS}),
    "an indented document as an event": "data: " + json.dumps(GOOD, indent=1).replace("\n", "\ndata: ") + "\n\n",
    "an indented document behind data": "data: " + json.dumps(GOOD, indent=1) + "\n\n",
    "a warning of a script before it": "<br />\n<b>Warning</b>: x {main} in /a\n" + json.dumps(GOOD),
    "a number of 5,000 digits": json.dumps(GOOD)[:-1] + ',"created":' + "9" * 5000 + "}",
    "packed without saying so": gzip.compress(json.dumps(GOOD).encode()),
    "counts in the choice": {"choices": [CHOICE | {"usage": COUNTS}]},
    "counts in a list": GOOD | {"usage": [COUNTS]},
    "counts of Gemini": {"choices": [CHOICE], "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 30}},
    "counts in camel case": GOOD | {"usage": {"promptTokens": 8, "completionTokens": "30.0"}},
    "thinking outside of the answer": GOOD | {"usage": COUNTS | {"completion_tokens": 10, "total_tokens": None, "completion_tokens_details": {"reasoning_tokens": 20}}},
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_an_answer_of_odd_form_is_read(name: str) -> None:
    content = READ[name]
    result, validation = read(json.dumps(content) if isinstance(content, list) else content)
    assert validation is not None, (result.error, result.message)
    assert (validation.text, validation.problem) == (OK_USER, None)
    assert result.usage is not None
    assert result.usage.tokens_out == 30


def test_an_items_answer_that_is_parsed_already_is_read() -> None:
    _, validation = read(said(json.loads(OK_ITEM)), "item")
    assert validation is not None
    assert validation.text == "\n".join(json.loads(OK_ITEM).values())


UNUSABLE: dict[str, tuple[Any, str]] = {
    "a number": (said(17), "empty"), "true": (said(True), "empty"), "JSON without text": (said('{"a": 1}'), "empty"),
    "a refusal as a part": (said([{"type": "refusal", "refusal": "I can't help."}]), "refused"),
    "stop_reason alone": (GOOD | {"choices": [{"message": {"content": OK_USER}, "stop_reason": "max_tokens"}]}, "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_is_no_text_is_unusable_and_not_a_failure_of_the_server(name: str) -> None:
    result, validation = read(UNUSABLE[name][0])
    assert validation is not None
    assert (result.error, result.usage is None) == (UNUSABLE[name][1], False)


def test_an_answer_of_no_tokens_has_an_unknown_price() -> None:
    assert read(GOOD | {"usage": COUNTS | {"completion_tokens": 0, "total_tokens": 8}})[0].usage is None


TOLD: dict[str, tuple[Any, str, Any]] = {
    "Cloudflare": ({"success": False, "errors": [{"code": 7003, "message": "Could not route"}], "result": None}, "Could not route", MALFORMED),
    "MiniMax": ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None}, "insufficient balance", MALFORMED),
    "AWS": ({"Message": "User is not authorized"}, "User is not authorized", MALFORMED),
    "Apigee": ({"fault": {"faultstring": "Spike arrest"}}, "Spike arrest", MALFORMED),
    "OAuth": ({"error": "invalid_token", "error_description": "It expired"}, "invalid_token: It expired", MALFORMED),
    "Spring": ({"status": 401, "error": "Unauthorized", "message": "No token"}, "Unauthorized: No token", "HTTP 401"),
    "a list of errors": ({"error": [{"message": "boom", "code": 500}]}, "boom", "HTTP 500"),
    "a code in words": ({"error": {"message": "slow down", "type": "rate_limit_error"}}, "slow down", "HTTP 429"),
    "gRPC": ({"error": {"message": "who?", "status": "UNAUTHENTICATED"}}, "who?", "HTTP 401"),
    "true": ({"error": True, "message": "bad model"}, "bad model", MALFORMED),
    "text alone": ('"busy"', "busy", MALFORMED),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_words_are_found_in_the_errors_of_any_server(name: str) -> None:
    content, words, error = TOLD[name]
    result, validation = read(content)
    assert validation is None
    assert words in result.message
    assert result.error == error
    assert words in words_of(json.dumps(content).encode(), {})
    assert result.spent == (name == "MiniMax")


JUNK: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_subnormal=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "message", "code", "0", "error", "data"]), inner, max_size=3
        )
    ),
)
PLACES: list[tuple[Any, ...]] = [
    ("choices",), ("choices", 0), ("choices", 0, "message"), ("choices", 0, "message", "content"), ("choices", 0, "message", "refusal"),
    ("choices", 0, "message", "reasoning_content"), ("choices", 0, "message", "tool_calls"), ("choices", 0, "finish_reason"),
    ("choices", 0, "index"), ("choices", 0, "error"), ("usage",), ("usage", "prompt_tokens"), ("usage", "completion_tokens"),
    ("usage", "total_tokens"), ("usage", "prompt_tokens_details"), ("error",), ("data",), ("object",), ("code",),
]  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(PLACES), JUNK, st.sampled_from(["json", "stream", "batch"]), st.sampled_from(["user", "item"]))
def test_junk_in_any_field_is_judged_and_told_in_the_servers_words(place: Any, junk: Any, how: str, kind: Any) -> None:
    tree: Any = json.loads(json.dumps(GOOD))
    inside = tree
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = junk
    if how == "batch":
        line = {"custom_id": "k", "response": {"status_code": 200, "body": tree}}
        found = batch_client()._result_of_line(line)
        assert found is not None
        result = found[1]
        batch_client()._judge(RequestState("k", kind), result)
    else:
        result, validation = read(events(tree) if how == "stream" else json.dumps(tree), kind)
        assert result.error is not None or validation is not None
    for word in ("object has no", "indices must be", "subscriptable", "NoneType", "not iterable"):
        assert word not in result.message
    if how == "json" and result.error is None and place[0] != "usage":
        assert result.usage is not None, "what was counted is not lost"


def batch_client() -> BatchHttpClient:
    return BatchHttpClient(
        "x", Endpoint(base_url="http://127.0.0.1:1/v1", model="m"), None, cast(Any, None), cast(Any, None)
    )


LINES: dict[str, tuple[Any, Any]] = {
    "no status": ({"response": {"body": GOOD}}, (200, None)),
    "the answer at once": ({"response": GOOD}, (200, None)),
    "a body that is text": ({"response": {"status_code": 200, "body": json.dumps(GOOD)}}, (200, None)),
    "a status that is text": ({"response": {"status_code": "200", "body": GOOD}}, (200, None)),
    "no body": ({"response": {"status_code": 200, "body": None}}, (200, MALFORMED)),
    "a refusal that is text": ({"response": {"status_code": 400, "body": "no"}}, (400, "HTTP 400")),
    "an error that is text": ({"response": {"status_code": 400, "body": {"error": "no"}}}, (400, "HTTP 400")),
    "only an error that is text": ({"response": None, "error": "expired"}, (None, "error")),
    "an error list": ({"error": [{"code": "x", "message": "m"}]}, (None, "error")),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_a_batch_that_names_its_request_is_never_lost(name: str) -> None:
    line, want = LINES[name]
    found = batch_client()._result_of_line(line | {"custom_id": "k"})
    assert found is not None
    key, result = found
    assert key == "k"
    batch_client()._judge(RequestState("k", "user"), result)
    assert (result.status, result.error) == want


def test_states_of_batches_of_other_providers_end(tmp_path) -> None:
    class Made:
        status: Any = "SUCCEEDED"
        id: Any = None

    assert _status_of(Made) == "completed"
    for status in (None, 7, ""):
        Made.status = status
        with pytest.raises(ValueError, match="names no status"):
            _status_of(Made)
    for made in (Made, "<html>Sign in</html>", {}, {"id": 7}):
        with pytest.raises(ValueError, match="names no id"):
            _id_of(made)
    page = tmp_path / "page"
    page.write_text("<html><h1>Sign in</h1></html>\n")
    with pytest.raises(ValueError, match="holds no answers: Sign in"):
        _check_lines(page, 0)


MARKS = [
    ("<think duration='3'>", "</think>"), ("< Think >", "< /Think >"), ("<thinking_process>", "</thinking_process>"),
    ("<inner_monologue>", "</inner_monologue>"), ("<longcat_think>", "</longcat_think>"), ("<analysis>", "</analysis>"),
    ('<details type="reasoning" done="true"><summary>Thought for 3 s</summary>', "</details>"), ("&lt;think&gt;", "&lt;/think&gt;"),
    ("<|thinking|>", "<|/thinking|>"), ("<|thought_start|>", "<|thought_end|>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"), ("**Thinking:** ", "\n\n**Answer:** "),
    ("Here is my thought process: ", "\n\nHere is my response:\n"),
]  # fmt: skip
AROUND = [
    "{}", "<answer>{}</answer>", "<response>\n{}\n</response>", "<|START_RESPONSE|>{}<|END_RESPONSE|>", "<|begin_of_box|>{}<|end_of_box|>",
    "<|start_of_role|>assistant<|end_of_role|>{}<|end_of_text|>", "<|assistant|>{}<|user|>more of it", "<SPECIAL_12>{}", "<0x0A>{}",
]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(MARKS), st.sampled_from(AROUND), st.text("abc .\n", max_size=20), st.booleans())
def test_thinking_in_other_marks_never_is_the_summary(mark: Any, around: str, thoughts: str, closed: bool) -> None:
    opened, end = mark
    answer = around.format(OK_USER)
    _, validation = read(said(f"{opened}{thoughts}{end}{answer}"))
    assert validation is not None
    assert validation.text == OK_USER
    if not closed and opened[0] in "<&":
        _, validation = read(said(f"{opened}{thoughts}{OK_USER}"))
        assert validation is not None
        assert validation.problem == "truncated"


SPENT = [
    "Your team has either used all available credits or reached its monthly spending limit.", "Your prepayment credits are depleted.",
    "Account suspended: monthly spending limit reached", "Budget has been exceeded! Current cost: 10.0, Max budget: 5",
    "ExceededBudget: User=x has exceeded their budget", "用户额度不足", "该令牌额度已用尽", "NOT_ENOUGH_BALANCE", "insufficient_user_quota",
    "You have used up your daily free allocation of 10,000 neurons", "The free tier of the model has been exhausted.",
    "You have exceeded your monthly included credits", "Credit limit exceeded", "Key limit exceeded (monthly limit)",
    "Your account is not active, please check your billing details on our website.",
]  # fmt: skip
ABOUT_PROMPTS = [
    "`inputs` must have less than 1024 tokens. Given: 2000", "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
    "the request exceeds the available context size", "Range of input length should be [1, 30720]", "Prompt 超长",
    "Your request exceeded model token limit: 8192", "Prompt length 9000 is greater than max_seq_len 8192", "Token limit exceeded: 9000",
    "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce your message size",
    "Content Exists Risk", "data_inspection_failed", "可能包含不安全或敏感内容", "rejected because it was considered high risk",
    "Content violates usage guidelines", "ResponsibleAIPolicyViolation",
]  # fmt: skip
OF_ALL = [
    "The model `x` does not exist", "x is not a valid model ID", "temperature must be at most 2", "max_tokens must be less than 4096",
    "Invalid value for response_format", "'max_tokens' is not supported with this model. Use 'max_completion_tokens'",
]  # fmt: skip


def test_words_about_the_account_the_prompt_and_the_endpoint_are_told_apart() -> None:
    for words in SPENT:
        assert all(account_spent(status, words, {}) for status in (400, 401, 402, 403, 412, 429)), words
        assert not concerns_prompt(400, words), words
    for words in ABOUT_PROMPTS:
        assert concerns_prompt(400, words), words
        assert not account_spent(400, words, {}), words
    for words in OF_ALL:
        assert not concerns_prompt(400, words), words
        assert not account_spent(400, words, {}), words


def test_words_are_found_in_a_page_as_fast_as_it_is_long() -> None:
    for page in (b"<script" * 14_000, b"<style>" + b"<" * 90_000, b"[" * 90_000):
        words_of(page, {})
