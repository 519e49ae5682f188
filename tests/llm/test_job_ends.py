"""A job always ends: prompts that are refused, limits without an end, answers that drip, and answers that are all unusable."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SemanticsError
from engine.events import ApiCalled, StageProgress, SummariesMade
from engine.semantics.llm import rate_limiter
from engine.semantics.llm.answer_validation import Problem
from engine.semantics.llm.attempts import HINTS, UNUSABLE_IN_ROW
from engine.semantics.llm.endpoints import Limits
from engine.semantics.llm.rate_limiter import RateLimiter, duration, retry_after
from engine.semantics.llm.refusals import account_spent, concerns_prompt
from engine.semantics.summaries.make import make_summaries

from .replies import always, document, good, refusal
from .test_client import DEMO, Job

AZURE = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
OF_PROMPTS = [
    (400, AZURE, {"code": "content_filter"}),
    (
        400,
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        {"code": "context_length_exceeded"},
    ),
    (403, "Your chosen model requires moderation and your input was flagged for 'violence'.", {}),
    (413, "Request too large: the prompt is too long", {}),
    (422, "Input validation error: `inputs` tokens: too many tokens", {}),
    (451, "Unavailable for legal reasons", {}),
]


@pytest.mark.parametrize(("status", "words", "more"), OF_PROMPTS)
def test_a_refused_prompt_is_set_aside_even_if_nothing_has_worked_yet(serve, tmp_path, status, words, more) -> None:
    server = serve(reply=always(lambda body: refusal(status, words, **more)))
    job = Job(tmp_path, server, limits={"concurrency": 4})
    texts = job.run(count=6)
    assert all(texts)
    assert job.column(SummariesMade, "fallback") == [True] * 6
    assert server.requests == 6, "each is asked once"
    assert set(job.column(ApiCalled, "usd")) == {0.0}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_others_are_asked_before_all_prompts_are_blamed(serve, tmp_path, status, concurrency) -> None:
    refused: list[str] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        text = body["messages"][1]["content"]
        if text in refused or len(refused) < 2:
            refused.append(text)
            return refusal(status, "no")
        return 200, document(body, good(body))

    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": concurrency})
    job.run(count=10)
    assert sorted(job.column(SummariesMade, "fallback")) == [False] * 8 + [True] * 2


def test_a_stored_answer_counts_as_having_worked(serve, tmp_path) -> None:
    server = serve(reply=always(lambda body: refusal(400, "no")))
    job = Job(tmp_path, server)
    owners = DEMO.anchors.ids(0)[:3]
    keys = job.provider.request_keys("user", owners)
    made = make_summaries(
        job.provider, DEMO, "user", owners, unit="prefix", known=lambda _: {keys[0]: "stored"}, report=job.events.append
    )
    assert made.texts[0] == "stored"
    assert job.column(SummariesMade, "fallback") == [True] * 2


@pytest.mark.parametrize(
    "more", [{"type": "insufficient_quota", "code": "insufficient_quota"}, {"param": "limit: 0, model: x"}]
)
def test_an_account_without_quota_ends_the_job_at_once(serve, tmp_path, more) -> None:
    words = "You exceeded your current quota, please check your plan and billing details. " + str(more.get("param", ""))
    server = serve(reply=always(lambda body: refusal(429, words, **more)))
    with pytest.raises(SemanticsError, match=r"exceeded your current quota[\s\S]*check plan and billing"):
        Job(tmp_path, server).run()
    assert server.requests <= rate_limiter.FIRST


def test_429_without_end_ends_with_the_servers_words(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rate_limiter, "LIMITED_SECONDS", 1.5)
    server = serve(reply=always(lambda body: refusal(429, "Provider returned error")))
    job = Job(tmp_path, server)
    with pytest.raises(SemanticsError, match=r"HTTP 429: Provider returned error[\s\S]*requests_per_minute"):
        job.run()
    assert server.requests < 40, "pauses grow"
    assert any(
        "HTTP 429: Provider returned error" in made.detail for made in job.events if isinstance(made, StageProgress)
    )


def test_what_is_waited_for_is_on_the_screen(serve, tmp_path) -> None:
    until = time.time() + 3
    left = [refusal(429, "slow down", {"retry-after": str(int(until))})]
    reply = always(lambda body: left.pop() if left else (200, document(body, good(body))))
    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": 1})
    job.run(count=2)
    assert 1 <= time.time() - until + 3 < 10, "a Unix time is a time, not a wait of decades"
    notes = [made.detail for made in job.events if isinstance(made, StageProgress)]
    assert any("waits 2 s after HTTP 429: slow down" in note for note in notes), notes


def test_an_answer_that_drips_ends_with_its_attempt(serve, tmp_path) -> None:
    async def drip(writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(100):
            writer.write(b"1\r\n\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)
        return False

    dripped: list[Any] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        dripped.append(body)
        return drip if len(dripped) == 1 else (200, document(body, good(body)))

    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": 1, "timeout": 1.0})
    started = time.monotonic()
    job.run(count=1)
    assert time.monotonic() - started < 6
    assert job.column(ApiCalled, "error") == ["timeout", None]
    first = job.column(ApiCalled, "usd_reserved")[0]
    assert job.column(ApiCalled, "usd")[0] is None
    assert first > 0, "it may have been billed"


THINKING = "Let me think about it. " * 40


@pytest.mark.parametrize(
    ("content", "finish", "more", "setting"),
    [
        ("", "length", {"reasoning_content": THINKING}, "reasoning_effort"),
        ("", "stop", {}, "max_tokens"),
        ("I'm sorry, I can't.", "stop", {}, "--set prompt"),
        ("x", "error", {}, "breaks its answers off"),
        ("word " * 400, "stop", {}, "writes too much"),
    ],
)
def test_answers_that_are_all_unusable_end_the_job(serve, tmp_path, content, finish, more, setting) -> None:
    server = serve(reply=always(lambda body: (200, document(body, content, finish, **more))))
    job = Job(tmp_path, server, limits={"concurrency": 4})
    with pytest.raises(SemanticsError, match=rf"all paid for and unusable[\s\S]*{setting}"):
        job.run(count=60)
    assert UNUSABLE_IN_ROW <= server.requests <= UNUSABLE_IN_ROW + 4
    assert len(job.column(ApiCalled, "key")) == server.requests, "what was paid for is recorded"


def test_every_problem_has_the_setting_that_helps() -> None:
    assert set(HINTS) == {*get_args(Problem), "thinking"}


def test_the_last_prompts_that_cannot_be_answered_end_no_job(serve, tmp_path) -> None:
    odd: list[str] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        text = body["messages"][1]["content"]
        if text not in odd and server.requests > 20:
            odd.append(text)
        return 200, document(body, "" if text in odd else good(body))

    server = serve(reply=reply)
    job = Job(tmp_path, server, limits={"concurrency": 8, "answers": 4})
    job.run(count=34)
    assert UNUSABLE_IN_ROW < 4 * len(odd) == server.requests - 20
    assert job.column(SummariesMade, "fallback").count(True) == len(odd)


def test_one_usable_answer_in_a_while_lets_a_job_go_on(serve, tmp_path) -> None:
    asked: list[Any] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        asked.append(body)
        return 200, document(body, good(body) if len(asked) % 10 == 0 else "")

    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": 4, "answers": 1})
    job.run(count=50)
    assert job.column(SummariesMade, "fallback").count(False) == len(asked) // 10 > 3


def test_a_passing_fault_is_tried_again(serve, tmp_path) -> None:
    faults = [408, 409, 420, 423, 424, 425, 430, 460, 498, 499, 500, 502, 503, 504, 520, 529]
    left = list(faults)
    turns = itertools.count()  # no ten failures in a row, after which single probes are sent
    fails = lambda: left and next(turns) % 2  # noqa: E731
    reply = always(lambda body: refusal(left.pop(), "later") if fails() else (200, document(body, good(body))))
    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": 8, "attempts": 20})
    job.run(count=len(faults) + 2)
    assert sorted(status for status in job.column(ApiCalled, "status") if status != 200) == faults
    assert not any(job.column(SummariesMade, "fallback"))


@settings(max_examples=300, deadline=None)
@given(seconds=st.floats(0, 86_400, allow_subnormal=False), form=st.sampled_from(["plain", "unix", "unix ms", "iso"]))
def test_every_way_to_say_when_means_the_same(seconds: float, form: str) -> None:
    until = time.time() + seconds
    text = {
        "plain": f"{seconds:f}", "unix": f"{until:f}", "unix ms": f"{until * 1000:f}",
        "iso": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until)),
    }[form]  # fmt: skip
    for found in (retry_after({"retry-after": text}), duration(text)):
        assert found is not None
        assert abs(found - seconds) < 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["429", "429 wait", "ok", "500"]), max_size=60))
def test_the_pause_after_429_grows_and_a_success_ends_it(ends: list[str]) -> None:
    limiter = RateLimiter(Limits())
    longest = rate_limiter.LONGEST_LIMITED_PAUSE
    for end in ends:
        if end == "ok":
            limiter.on_success()
            assert not limiter.never_let_in
        elif end == "500":
            limiter.on_failure()
        else:
            limiter.on_rate_limited(longest if "wait" in end else None, sent=time.monotonic())
        assert limiter.paused_seconds <= longest
        assert 1 <= limiter.allowed <= limiter.maximum


@settings(max_examples=100, deadline=None)
@given(
    case=st.sampled_from(OF_PROMPTS), change=st.sampled_from([str.upper, str.lower, str]), before=st.text(max_size=20)
)
def test_words_about_a_prompt_are_understood_in_any_case(case, change, before) -> None:
    words = change(f"{before} {case[1]}: {case[2].get('code', '')}")
    assert concerns_prompt(case[0], words)
    assert not concerns_prompt(401, words)
    assert not account_spent(case[0], words, {})


def test_a_limit_per_minute_is_no_empty_account() -> None:
    gemini = (
        "You exceeded your current quota, please check your plan and billing details. limit: 15. Please retry in 35.2s."
    )
    assert not account_spent(429, gemini, {})
    assert account_spent(429, gemini.replace("limit: 15", "limit: 0"), {})
    assert not account_spent(429, "Rate limit reached for requests per minute", {})
