"""A loopback server that speaks OpenAI's chat completions and embeddings and misbehaves on request; it counts what it was asked and billed.

    python tests/support/openai_server.py PORT_FILE LOG_FILE '{"latency": 0.2, "faults": 0.2}'

Plain asyncio: one line of JSON per request in the log, written and flushed before the answer goes out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import pathlib
import random
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

FAULTS = (
    "429",
    "429-wait",
    "500",
    "503",
    "drop",
    "half",
    "html",
    "empty",
    "refused",
    "truncated",
    "long",
    "nonsense",
    "hang",
    "uncounted",
)
"""Of all kinds; `nonsense` is wrong JSON for items, `uncounted` a good answer whose usage is missing or makes no sense."""
MORE_FAULTS = ("reasoning", "201", "error-200", "drip", "surrogate", "huge-count", "parts", "outside")
GOOD = ("", "uncounted", "201", "surrogate", "huge-count", "parts", "outside")
WRONG_USAGE: tuple[Any, ...] = (
    None,
    "a lot",
    {"prompt_tokens": -5, "completion_tokens": 9, "total_tokens": 4},
    {"prompt_tokens": "many", "completion_tokens": None, "total_tokens": 0},
    {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 99}},
)
HUGE_USAGE = {"prompt_tokens": 3_000_000_000, "completion_tokens": 5, "total_tokens": 3_000_000_005}
OK_USER = "Prefers small dependable things and returns to the same makers again and again, lately with more color."
OK_ITEM = json.dumps(
    {"item summary": "A dependable thing for daily use.", "potential user analysis": "People who like such things."}
)


@dataclass
class Behavior:
    """What the server does."""

    latency: float = 0.0
    faults: float = 0.0
    """Share of requests that go wrong, of all kinds."""
    more: bool = False
    """Whether `MORE_FAULTS` are among them."""
    quota_at: tuple[int, ...] = ()
    """Requests, by number, that are told that the account has no quota."""
    serial: bool = False
    """Whether each answer has a number of tokens of its own, by which it is found in a ledger."""
    always: str = ""
    """A fault that every request meets."""
    first: dict[str, int] = field(default_factory=dict)
    """Faults that the first so many requests meet."""
    key: str = ""
    """The only key that is let in; empty lets anyone in."""
    limit: int = 0
    """Requests at a time; more get 429. 0 is no limit."""
    wait: float = 0.2
    """Seconds of a Retry-After."""
    hang: float = 3.0
    warmup: float = 0.0
    """Seconds after the first request in which everyone is told 503, as servers do that still load their model."""
    headers: dict[str, str] = field(default_factory=dict)
    log: str = ""
    seed: int = 1
    batch: str = ""
    """What becomes of batches: `expired` and `cancelled` answer the first half, `failed` and `too many` nothing."""
    batch_seconds: float = 0.0
    """How long a batch takes."""
    batch_faults: dict[str, int] = field(default_factory=dict)
    """What the first so many requests of batches meet: a fault of answers, or a status such as `500`."""
    reply: Any = None
    """Called with a request's line, headers and body: the response, None for the server's own, or a coroutine that writes it."""
    unseen: int = 0
    """So many batches are begun, and whoever began them is not told."""
    limit_enqueued: int = 0
    """Requests that may be in batches at a time; more are `too many`. 0 is no limit."""


@dataclass
class Server:
    """Runs in a thread; its counters may be read at any time."""

    behavior: Behavior
    port: int = 0
    requests: int = 0
    billed: dict[str, float] = field(default_factory=lambda: {"calls": 0, "in": 0, "out": 0, "cached": 0})
    """Answers that went out whole with their usage, and their tokens."""
    worked: dict[str, float] = field(default_factory=lambda: {"calls": 0, "in": 0, "out": 0, "cached": 0})
    """All that were written, those too that broke off or whose usage was not told: what a provider might charge."""
    bills: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Tokens in, out and cached of the answers that are in `billed`, by their tokens out, where these are `serial`."""
    good: dict[str, int] = field(default_factory=dict)
    """Usable answers by prompt."""
    seen: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0
    active: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    in_batches: int = 0
    """Requests of batches that were answered or refused."""

    def start(self) -> Server:
        ready = threading.Event()
        self._dice = random.Random(self.behavior.seed)
        self._first_at: float | None = None
        self._answers = 0
        self._loop = asyncio.new_event_loop()

        async def serve() -> None:
            server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=2**22)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            self._done = asyncio.Event()
            await self._done.wait()
            server.close()
            for task in (others := asyncio.all_tasks() - {asyncio.current_task()}):
                task.cancel()
            await asyncio.wait(others) if others else None

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()), daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = head.split("\r\n")
                headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                upload = headers.get("content-type", "").startswith("multipart/")
                body = raw if upload else json.loads(raw or b"{}")
                if not await self._reply(writer, lines[0], headers, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _fault(self) -> str:
        own = self.behavior
        for name, count in own.first.items():
            if count > 0:
                own.first[name] = count - 1
                return name
        if self.requests in own.quota_at:
            return "quota"
        faults = (*FAULTS, *MORE_FAULTS) if own.more else FAULTS
        return own.always or (self._dice.choice(faults) if self._dice.random() < own.faults else "")

    async def _reply(self, writer: asyncio.StreamWriter, line: str, headers: dict[str, str], body: Any) -> bool:
        own = self.behavior
        self.requests += 1
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            said = own.reply(line, headers, body) if own.reply else None
            if said is not None:
                self.seen.append(body)
                return await (said(writer) if callable(said) else self._send(writer, *said))
            fault = self._fault()
            if own.limit and self.active > own.limit:
                fault = "429"
            now = self._loop.time()
            self._first_at = now if self._first_at is None else self._first_at
            if now - self._first_at < own.warmup:
                fault = "503"
            if own.latency:
                await asyncio.sleep(own.latency * (0.5 + self._dice.random()))
            if own.key and headers.get("authorization") != f"Bearer {own.key}":
                said = headers.get("authorization", "").removeprefix("Bearer ")
                return await self._send(writer, 401, {"error": {"message": f"Incorrect API key provided: {said}"}})
            if fault[:3].isdigit():
                more = {"retry-after": str(own.wait)} if fault.endswith("wait") else {}
                return await self._send(writer, int(fault[:3]), {"error": {"message": f"fault {fault}"}}, more)
            if fault in ("quota", "error-200"):
                said = {"message": "Upstream error", "code": 502 if fault == "error-200" else "insufficient_quota"}
                return await self._send(writer, 429 if fault == "quota" else 200, {"error": said})
            if fault == "hang":
                await asyncio.sleep(own.hang)
            if fault in ("drop", "hang"):
                return False
            if fault in ("html", "drip"):
                return await (self._drip(writer) if fault == "drip" else self._send(writer, 200, "<html>busy</html>"))
            if "/files" in line or "/batches" in line:
                return await self._batch(writer, line.split(), body)
            return await (self._encode if "/embeddings" in line else self._answer)(writer, body, fault)
        finally:
            self.active -= 1

    def _document(self, body: Any, fault: str) -> tuple[str, bool, dict[str, Any], dict[str, Any]]:
        """Name of a prompt, whether it is an item's, the answer, and what of it is cached."""
        text = "".join(message["content"] for message in body["messages"][:2])
        name = hashlib.sha256(text.encode()).hexdigest()
        item = "<item>" in text
        content: Any = OK_ITEM if item else OK_USER
        finish = "stop"
        if fault == "truncated":
            content, finish = content[:20], "length"
        content = {
            "empty": "",
            "refused": "I'm sorry, but I can't help with that.",
            "long": "word " * 400,
            "nonsense": "Sure! Here it is." if item else content,
            "reasoning": "",
            "surrogate": content.replace("thing", "thing \ud83d", 1),
        }.get(fault, content)
        letters = sum(len(message["content"]) for message in body["messages"])
        self._answers += 1
        out = 400 if fault == "reasoning" else len(content) // 4
        out = 1000 + self._answers if self.behavior.serial else out
        usage: dict[str, Any] = {"prompt_tokens": letters // 4, "completion_tokens": out}
        usage["total_tokens"] = sum(usage.values())
        usage["prompt_tokens_details"] = {"cached_tokens": letters // 8}
        made = {"calls": 1, "in": letters // 4, "out": out, "cached": letters // 8}
        message: dict[str, Any] = {"role": "assistant"}
        if fault == "reasoning":
            message["reasoning_content"], finish = "Okay, what did they buy? " * 20, "length"
        message["content"] = [{"type": "text", "text": content}] if fault == "parts" else content
        for name_, count in made.items():
            self.worked[name_] += count
        document = {
            "id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "usage": usage,
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        }  # fmt: skip
        return name, item, document, usage

    def _bill(self, name: str, item: bool, document: dict[str, Any], usage: dict[str, Any], fault: str) -> None:
        """Count an answer that goes out whole."""
        if fault in ("uncounted", "huge-count"):
            document["usage"] = HUGE_USAGE if fault == "huge-count" else self._dice.choice(WRONG_USAGE)
        else:
            if self.behavior.serial:
                out = usage["completion_tokens"]
                self.bills[out] = usage["prompt_tokens"], out, usage["prompt_tokens_details"]["cached_tokens"]
            self.billed["calls"] += 1
            for name_, count in (("in", "prompt_tokens"), ("out", "completion_tokens")):
                self.billed[name_] += usage[count]
            self.billed["cached"] += usage["prompt_tokens_details"]["cached_tokens"]
            document["usage"] = usage | ({"completion_tokens": 3} if fault == "outside" else {})
        if fault in GOOD or (fault == "nonsense" and not item):
            self.good[name] = self.good.get(name, 0) + 1

    async def _answer(self, writer: asyncio.StreamWriter, body: Any, fault: str) -> bool:
        name, item, document, usage = self._document(body, fault)
        if fault == "half":
            raw = json.dumps(document).encode()
            writer.write(
                f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n".encode()
            )
            writer.write(raw[: len(raw) // 2])
            await writer.drain()
            return False
        self._bill(name, item, document, usage, fault)
        self.seen.append(body)
        if self.behavior.log:
            with open(self.behavior.log, "a") as log:
                log.write(json.dumps({"prompt": name, "usage": usage, "fault": fault}) + "\n")
        return await self._send(writer, 201 if fault == "201" else 200, document, self.behavior.headers)

    async def _drip(self, writer: asyncio.StreamWriter) -> bool:
        """An answer of which a blank comes now and then, until the client hangs up."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.5)
        return False

    async def _encode(self, writer: asyncio.StreamWriter, body: Any, fault: str) -> bool:
        """Eight numbers for each text, from its hash; faults of answers lose the last vector."""
        data = []
        for place, text in enumerate(body["input"]):
            digest = hashlib.sha256(text.encode()).digest()
            numbers = struct.pack("<8f", *(byte / 255 for byte in digest[:8]))
            data.append({"object": "embedding", "index": place, "embedding": base64.b64encode(numbers).decode()})
        self._dice.shuffle(data)
        tokens = sum(map(len, body["input"])) // 4
        wrong = fault in ("empty", "refused", "truncated", "long", "nonsense")
        usage: Any = {"prompt_tokens": tokens, "total_tokens": tokens}
        if fault == "uncounted":
            usage = {"prompt_tokens": "some"}
        elif fault != "half":
            self.billed["calls"] += 1
            self.billed["in"] += tokens
        if fault in ("", "uncounted"):
            for text in body["input"]:
                self.good[text] = self.good.get(text, 0) + 1
        document = {"object": "list", "model": body["model"], "data": data[wrong:], "usage": usage}
        if fault == "half":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{")
            await writer.drain()
            return False
        return await self._send(writer, 200, document, self.behavior.headers)

    async def _batch(self, writer: asyncio.StreamWriter, line: list[str], body: Any) -> bool:
        """`/files` and `/batches`; a batch is answered when it is first asked about after its time."""
        method, path = line[0], line[1].split("?")[0].removeprefix("/v1/").split("/")
        if method == "POST" and path == ["files"]:
            name = f"file-{len(self.files)}"
            self.files[name] = body[body.index(b'{"custom_id"') : body.rindex(b"}") + 1]
            return await self._send(writer, 200, {"id": name, "object": "file", "bytes": len(body), "created_at": 1,
                "filename": "f", "purpose": "batch", "status": "processed"})  # fmt: skip
        if path[0] == "files":
            if path[1] not in self.files:
                return await self._send(writer, 404, {"error": {"message": "no such file"}})
            if method == "DELETE":
                del self.files[path[1]]
                return await self._send(writer, 200, {"id": path[1], "object": "file", "deleted": True})
            return await self._send(writer, 200, self.files[path[1]].decode())
        if method == "POST" and len(path) == 1:
            made = {
                "id": f"batch-{len(self.batches)}", "object": "batch", "created_at": int(time.time()), "status": "validating",
                "completion_window": "24h", "metadata": body["metadata"], "endpoint": body["endpoint"],
                "input_file_id": body["input_file_id"],
            }  # fmt: skip
            self.batches[made["id"]] = made
            if self.behavior.unseen > 0:
                self.behavior.unseen -= 1
                return False
            return await self._send(writer, 200, made)
        if len(path) == 1:
            data = list(reversed(self.batches.values()))
            return await self._send(writer, 200, {"object": "list", "data": data, "has_more": False})
        if path[1] not in self.batches:
            return await self._send(writer, 404, {"error": {"message": "no such batch"}})
        made = self.batches[path[1]]
        if path[2:] == ["cancel"] and made["status"] in ("validating", "in_progress"):
            self._finish(made, "cancelled")
        elif made["status"] in ("validating", "in_progress"):
            late = time.time() - made["created_at"] >= self.behavior.batch_seconds
            made["status"] = "in_progress"
            if late:
                self._finish(made, self.behavior.batch or "completed")
        return await self._send(writer, 200, made)

    def _finish(self, made: dict[str, Any], status: str) -> None:
        """Answer a batch's lines, as far as it comes."""
        lines = [json.loads(line) for line in self.files[made["input_file_id"]].splitlines()]
        if status == "too many" or (self.behavior.limit_enqueued and len(lines) > self.behavior.limit_enqueued):
            made |= {"status": "failed", "errors": {"object": "list", "data": [
                {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}}  # fmt: skip
            return
        if status == "failed":
            made |= {
                "status": "failed",
                "errors": {"object": "list", "data": [{"code": "invalid", "message": "bad line"}]},
            }
            return
        until = len(lines) // 2 if status in ("expired", "cancelled") else len(lines)
        good, bad = [], []
        for place, line in enumerate(lines):
            fault = next((name for name, left in self.behavior.batch_faults.items() if left > 0), "")
            own = {"id": f"r{place}", "custom_id": line["custom_id"], "response": None, "error": None}
            if place >= until:
                if status == "expired":
                    bad.append(own | {"error": {"code": "batch_expired", "message": "not in time"}})
                continue
            self.in_batches += 1
            if fault:
                self.behavior.batch_faults[fault] -= 1
            if fault.isdigit():
                body = {"error": {"message": f"fault {fault}"}}
                bad.append(own | {"response": {"status_code": int(fault), "request_id": "q", "body": body}})
                continue
            name, item, document, usage = self._document(line["body"], fault)
            self._bill(name, item, document, usage, fault)
            self.seen.append(line["body"])
            good.append(own | {"response": {"status_code": 200, "request_id": "q", "body": document}})
        counts = {"total": len(lines), "completed": len(good), "failed": len(bad)}
        made |= {"status": status, "request_counts": counts}
        for kind, found in (("output_file_id", good), ("error_file_id", bad)):
            if found:
                made[kind] = f"file-{made['id']}-{kind}"
                self._dice.shuffle(found)
                self.files[made[kind]] = "\n".join(map(json.dumps, found)).encode()

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: Any, more: Any = None) -> bool:
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        kind = "text/html" if isinstance(body, str) else "application/json"
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(raw)}"]
        lines += [f"{name}: {value}" for name, value in (more or {}).items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + raw)
        await writer.drain()
        return True


if __name__ == "__main__":
    made = Server(Behavior(**json.loads(sys.argv[3]), log=sys.argv[2])).start()
    pathlib.Path(sys.argv[1]).write_text(str(made.port))
    threading.Event().wait()
