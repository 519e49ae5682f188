"""What servers answer beside OpenAI's form, each against the loopback server: nothing paid is lost, and nothing is kept that is no answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SemanticsError
from engine.events import ApiCalled, SummariesMade
from engine.semantics.llm.answer_text import clean, cut_thinking, ending
from engine.semantics.llm.answer_validation import validate
from engine.semantics.llm.token_counts import MOST_TOKENS, usage_of
from tests.support.openai_server import OK_ITEM, OK_USER

from .replies import always, counts, document, good
from .test_client import Job

FEW = {"limits": {"concurrency": 4, "timeout": 20.0, "attempts": 2, "answers": 2}}


def ask(serve: Any, home: Any, make: Any, *, kind: str = "user", count: int = 3, **fields: Any) -> Job:
    """A job against a server that gives this response to each request."""
    job = Job(home, serve(reply=always(make)), **FEW | fields)
    job.texts = job.run(kind, count)  # type: ignore[attr-defined]
    return job


GOOD_WITH = {
    "thinking in tags": lambda text: f"<think>\nOkay, pens.\n</think>\n\n{text}",
    "thinking that was not opened": lambda text: f"Okay, let me look at the items.\n</think>\n\n{text}",
    "thinking in upper case": lambda text: f"<THINK>hm</THINK>{text}",
    "thinking of Magistral": lambda text: f"[THINK]hm[/THINK]{text}",
    "thinking of Kimi": lambda text: f"◁think▷hm◁/think▷{text}",
    "thinking of Seed": lambda text: f"<seed:think>hm</seed:think>{text}",
    "channels": lambda text: (
        f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{text}<|return|>"
    ),
    "an end token": lambda text: f"{text}<|im_end|>",
    "a turn after its end": lambda text: f"{text}<|eot_id|><|start_header_id|>user<|end_header_id|>And now?",
    "an end token of DeepSeek": lambda text: f"{text}<｜end▁of▁sentence｜>",
    "parts": lambda text: [{"type": "text", "text": text}],
    "parts with thinking": lambda text: [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": text[:9]},
        {"type": "text", "text": text[9:]},
    ],
}


@pytest.mark.parametrize("kind", ["user", "item"])
@pytest.mark.parametrize("quirk", GOOD_WITH)
def test_a_good_answer_is_found_in_it(serve, tmp_path, quirk, kind) -> None:
    job = ask(serve, tmp_path, lambda body: (200, document(body, GOOD_WITH[quirk](good(body)))), kind=kind)
    want = OK_USER if kind == "user" else "\n".join(json.loads(OK_ITEM).values())
    assert set(job.column(SummariesMade, "text")) == {want}
    assert not any(job.column(SummariesMade, "fallback"))
    assert job.column(ApiCalled, "error") == [None] * 3


FINISHES = {
    "length": "truncated", "MAX_TOKENS": "truncated", "max_tokens": "truncated", "model_length": "truncated",
    "max_output_tokens": "truncated", "model_context_window_exceeded": "truncated",
    "SAFETY": "refused", "RECITATION": "refused", "content_filter": "refused", "refusal": "refused",
    "PROHIBITED_CONTENT": "refused", "guardrail_intervened": "refused", "sensitive": "refused", "ERROR_TOXIC": "refused",
    "error": "failed", "abort": "failed", "network_error": "failed", "insufficient_system_resource": "failed", "OTHER": "failed",
    "eos_token": None, "end_turn": None, "stop_sequence": None, "COMPLETE": None, None: None, "": None,
}  # fmt: skip


@pytest.mark.parametrize("finish", FINISHES)
def test_finish_reasons_of_large_servers(serve, tmp_path, finish) -> None:
    job = ask(serve, tmp_path, lambda body: (200, document(body, good(body), finish)), count=1)
    assert set(job.column(ApiCalled, "error")) == {FINISHES[finish]}
    assert job.column(SummariesMade, "fallback") == [FINISHES[finish] is not None]


@pytest.mark.parametrize("status", [201, 202, 203, 206, 299])
def test_every_status_of_success_is_one(serve, tmp_path, status) -> None:
    job = ask(serve, tmp_path, lambda body: (status, document(body, good(body))))
    assert job.column(SummariesMade, "fallback") == [False] * 3
    assert job.column(ApiCalled, "status") == [status] * 3
    assert job.usd > 0


def test_thinking_without_an_end_is_truncated(serve, tmp_path) -> None:
    job = ask(serve, tmp_path, lambda body: (200, document(body, "<think>\nOkay, the user bought pens and then")))
    assert set(job.column(ApiCalled, "error")) == {"truncated"}


@pytest.mark.parametrize(("code", "calls"), [(401, 1), (402, 1), (403, 1), (404, 1), ("401", 1)])
def test_an_error_in_a_document_of_success_has_its_own_status(serve, tmp_path, code, calls) -> None:
    said = {"error": {"message": "No auth credentials found", "code": code}}
    server = serve(reply=always(lambda body: (200, said)))
    with pytest.raises(SemanticsError, match=f"HTTP {code}: No auth credentials found"):
        Job(tmp_path, server, limits={"concurrency": 1}).run(count=5)
    assert server.requests == calls


def test_an_error_in_a_document_that_passes_is_tried_again(serve, tmp_path) -> None:
    left = [429, 502]

    def reply(line: str, headers: Any, body: Any) -> Any:
        if left:
            return 200, {"choices": None, "usage": None, "error": {"message": "Provider error", "code": left.pop(0)}}
        return 200, document(body, good(body))

    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": 1})
    job.run(count=1)
    assert job.column(ApiCalled, "status") == [429, 502, 200]
    assert job.column(ApiCalled, "usd")[:2] == [0.0, 0.0], "an error is not billed"


USAGES: dict[str, tuple[Any, Any]] = {
    "reasoning outside of the answer": (lambda c: c | {"total_tokens": c["total_tokens"] + 300}, 330),
    "reasoning within the answer": (lambda c: c | {"completion_tokens_details": {"reasoning_tokens": 20}}, 30),
    "no count of the answer": (lambda c: {k: v for k, v in c.items() if k != "completion_tokens"}, 30),
    "decimals": (lambda c: {k: float(v) for k, v in c.items()}, 30),
    "in words": (lambda c: {k: str(v) for k, v in c.items()}, 30),
    "other names": (lambda c: {"input_tokens": c["prompt_tokens"], "output_tokens": 30}, 30),
    "beyond 32 bits": (lambda c: c | {"prompt_tokens": 3_000_000_000, "total_tokens": 3_000_000_030}, None),
    "beyond 64 bits": (lambda c: c | {"prompt_tokens": 2**70}, None),
    "nothing counted": (lambda c: dict.fromkeys(c, 0), None),
    "a null": (lambda c: c | {"completion_tokens": None, "total_tokens": c["prompt_tokens"]}, None),
    "true": (lambda c: c | {"completion_tokens": True}, None),
}


@pytest.mark.parametrize("name", USAGES)
def test_token_counts_of_every_form(serve, tmp_path, name) -> None:
    change, want = USAGES[name]
    job = ask(serve, tmp_path, lambda body: (200, document(body, good(body), usage=change(counts(body)))), count=1)
    assert job.column(SummariesMade, "fallback") == [False]
    assert job.column(ApiCalled, "tokens_out") == [want]
    assert (job.column(ApiCalled, "usd") == [None]) == (want is None), "unknown, never $0"


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_subnormal=False), st.text(max_size=8), st.none(), st.booleans(), st.lists(st.integers(), max_size=2)
)  # fmt: skip
FIELDS = st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "input_tokens", "prompt_tokens_details"])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, st.one_of(NUMBERS, st.dictionaries(FIELDS, NUMBERS, max_size=2)), max_size=6))
def test_counts_are_plausible_or_unknown(used: dict[str, Any]) -> None:
    usage = usage_of({"usage": used})
    if usage is not None:
        assert 0 < usage.tokens_in <= MOST_TOKENS
        assert 0 <= usage.tokens_out <= MOST_TOKENS
        assert 0 <= usage.tokens_cached <= usage.tokens_in


ANY = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@settings(max_examples=300, deadline=None)
@given(ANY)
def test_a_clean_text_can_be_stored_and_shown(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert "\x1b" not in cleaned
    assert all(letter in "\n\t\r" or letter.isprintable() or ord(letter) > 0x9F for letter in cleaned)
    assert clean(cleaned) == cleaned


MARKS = st.sampled_from(["think", "THINKING", "Thought", "reasoning"])
WORDS = st.text("abc .\n", min_size=1, max_size=30).filter(str.strip)


@settings(max_examples=300, deadline=None)
@given(mark=MARKS, thoughts=WORDS, answer=WORDS, opened=st.booleans(), closed=st.booleans())
def test_thinking_never_is_the_summary(mark, thoughts, answer, opened, closed) -> None:
    text = f"<{mark}>" * opened + thoughts + (f"</{mark}>{answer}" if closed else "")
    kept, endless = cut_thinking(text)
    assert endless == (opened and not closed)
    if closed:
        assert kept == answer.strip()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([f for f in FINISHES if f]), st.sampled_from([str.upper, str.lower, str.title]), st.booleans())
def test_finish_reasons_whatever_their_case(finish, change, dashes) -> None:
    word = change(finish)
    assert ending(word.replace("_", "-") if dashes else word) == (FINISHES[finish] or "good")


@settings(max_examples=150, deadline=None)
@given(
    before=st.sampled_from(["", "Sure! {name}: ", "```json\n", "{", "I use {braces}. "]),
    after=st.sampled_from(["", "\n```", "\n}", " {done}", "\n" + OK_ITEM]),
    keys=st.sampled_from(["{} {}", "{}_{}", "{}-{}", "{}{}"]),
    wrap=st.sampled_from(["%s", "[%s]", '{"result": %s}', '{"items": [%s]}']),
    case=st.sampled_from([str.lower, str.title, str.upper]),
)
def test_json_that_is_there_is_found(before, after, keys, wrap, case) -> None:
    named = {
        case(keys.format("item", "summary")): "A tool.",
        case("potential user analysis").replace(" ", keys[2:-2]): "People.",
    }
    found = validate("item", before + wrap % json.dumps(named) + after, "stop", None)
    assert found.text == "A tool.\nPeople."


@pytest.mark.parametrize("kind", ["user", "item"])
def test_lone_surrogates_and_control_characters_are_replaced_where_text_enters(serve, tmp_path, kind) -> None:
    odd = "desk \ud83d\x1b[2J\x1b]0;pwn\x07 top\x00"
    text = odd if kind == "user" else json.dumps({"item summary": odd, "potential user analysis": odd})
    job = ask(serve, tmp_path, lambda body: (200, json.dumps(document(body, text))), kind=kind)
    assert set(" ".join(job.column(SummariesMade, "text")).split()) == {"desk", "\ufffd", "top"}
    assert job.column(SummariesMade, "fallback") == [False] * 3


def test_an_unusable_answer_with_a_lone_surrogate_is_quoted_in_its_repair(serve, tmp_path) -> None:
    job = ask(serve, tmp_path, lambda body: (200, json.dumps(document(body, "no \udc80 JSON"))), kind="item", count=1)
    assert job.column(ApiCalled, "error") == ["wrong JSON"] * 2


def test_the_exception_of_one_prompt_is_that_prompts(serve, tmp_path, monkeypatch) -> None:
    import engine.semantics.llm.attempts as attempts

    plain, seen = attempts.validate, []

    def validate_once(*given: Any) -> Any:
        seen.append(given)
        if len(seen) <= 2:
            raise RuntimeError("nobody foresaw this")
        return plain(*given)

    monkeypatch.setattr(attempts, "validate", validate_once)
    job = ask(
        serve,
        tmp_path,
        lambda body: (200, document(body, good(body))),
        count=8,
        limits={"concurrency": 1, "answers": 2},
    )
    assert job.column(SummariesMade, "fallback").count(True) == 1
    assert len(job.column(ApiCalled, "usd")) == 9, "all calls are recorded, those too whose answer could not be judged"
    assert None not in job.column(ApiCalled, "usd")
