"""Receivers of messages for tests: one for webhooks, one for mail, each on a separate port."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class WebhookReceiver:
    """Keeps the posted messages, in order.

    Attributes:
        refusals: number of next posts that it answers with HTTP 500 and does not keep.
    """

    def __init__(self) -> None:
        self.port = 0
        self.posts: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.refusals = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=hidden"

    def subjects(self, about: str) -> list[str]:
        """Subjects that contain this text."""
        return [post["subject"] for post in self.posts if about in post["subject"]]

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        headers = {}
        while (line := (await reader.readline()).decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if self.refusals:
            self.refusals -= 1
            answer = b"HTTP/1.1 500 Internal Server Error"
        else:
            self.posts.append(json.loads(body))
            self.headers.append(headers)
            answer = b"HTTP/1.1 200 OK"
        writer.write(answer + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


class MailReceiver:
    """Implements the part of SMTP that a sender needs, and keeps the messages."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[EmailMessage] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            match line.split()[0].upper():
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    text = await reader.readuntil(b"\r\n.\r\n")
                    mail = email.message_from_bytes(text[:-3], policy=email.policy.default)
                    assert isinstance(mail, EmailMessage)
                    self.mails.append(mail)
                    writer.write(b"250 kept\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 test\r\n")
            await writer.drain()
        writer.close()


@contextmanager
def listening(receiver: WebhookReceiver | MailReceiver) -> Iterator[None]:
    """Run the receiver on 127.0.0.1, in a thread; sets its port."""
    started = threading.Event()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(receiver.connected, "127.0.0.1", 0)
        receiver.port = server.sockets[0].getsockname()[1]
        started.set()
        async with server:
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
