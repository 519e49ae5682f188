"""A loopback server that speaks OpenAI's chat completions and embeddings and misbehaves on request; it counts what it was asked and billed.

    python tests/llm/server.py PORT_FILE LOG_FILE '{"latency": 0.2, "faults": 0.2}'

Plain asyncio: one line of JSON per request in the log, written and flushed before the answer goes out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import struct
import sys
import threading
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
WRONG_USAGE: tuple[Any, ...] = (
    None,
    "a lot",
    {"prompt_tokens": -5, "completion_tokens": 9, "total_tokens": 4},
    {"prompt_tokens": "many", "completion_tokens": None, "total_tokens": 0},
    {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 99}},
)
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
    good: dict[str, int] = field(default_factory=dict)
    """Usable answers by prompt."""
    seen: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0
    active: int = 0

    def start(self) -> Server:
        ready = threading.Event()
        self._dice = random.Random(self.behavior.seed)
        self._first_at: float | None = None
        self._loop = asyncio.new_event_loop()

        async def serve() -> None:
            server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=2**22)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            self._done = asyncio.Event()
            await self._done.wait()
            server.close()

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
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
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
        return own.always or (self._dice.choice(FAULTS) if self._dice.random() < own.faults else "")

    async def _reply(self, writer: asyncio.StreamWriter, line: str, headers: dict[str, str], body: Any) -> bool:
        own = self.behavior
        self.requests += 1
        self.active += 1
        self.most = max(self.most, self.active)
        try:
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
            if fault == "hang":
                await asyncio.sleep(own.hang)
            if fault in ("drop", "hang"):
                return False
            if fault == "html":
                return await self._send(writer, 200, "<html>busy</html>")
            return await (self._encode if "/embeddings" in line else self._answer)(writer, body, fault)
        finally:
            self.active -= 1

    async def _answer(self, writer: asyncio.StreamWriter, body: Any, fault: str) -> bool:
        text = "".join(message["content"] for message in body["messages"][:2])
        name = hashlib.sha256(text.encode()).hexdigest()
        item = "<item>" in text
        content, finish = (OK_ITEM if item else OK_USER), "stop"
        if fault == "truncated":
            content, finish = content[:20], "length"
        content = {
            "empty": "",
            "refused": "I'm sorry, but I can't help with that.",
            "long": "word " * 400,
            "nonsense": "Sure! Here it is." if item else content,
        }.get(fault, content)
        letters = sum(len(message["content"]) for message in body["messages"])
        usage = {"prompt_tokens": letters // 4, "completion_tokens": len(content) // 4}
        usage["total_tokens"] = sum(usage.values())
        usage["prompt_tokens_details"] = {"cached_tokens": letters // 8}
        made = {"calls": 1, "in": letters // 4, "out": len(content) // 4, "cached": letters // 8}
        for name_, count in made.items():
            self.worked[name_] += count
        document = {
            "id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "usage": usage,
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}],
        }  # fmt: skip
        if fault == "half":
            raw = json.dumps(document).encode()
            writer.write(
                f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n".encode()
            )
            writer.write(raw[: len(raw) // 2])
            await writer.drain()
            return False
        if fault == "uncounted":
            document["usage"] = self._dice.choice(WRONG_USAGE)
        else:
            self.billed["calls"] += 1
            for name_, count in (("in", "prompt_tokens"), ("out", "completion_tokens")):
                self.billed[name_] += usage[count]
            self.billed["cached"] += letters // 8
        if fault in ("", "uncounted") or (fault == "nonsense" and not item):
            self.good[name] = self.good.get(name, 0) + 1
        self.seen.append(body)
        if self.behavior.log:
            with open(self.behavior.log, "a") as log:
                log.write(json.dumps({"prompt": name, "usage": usage, "fault": fault}) + "\n")
        return await self._send(writer, 200, document, self.behavior.headers)

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
    with open(sys.argv[1], "w") as port_file:
        port_file.write(str(made.port))
    threading.Event().wait()
