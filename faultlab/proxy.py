"""A TCP proxy between a client and a server, which can misbehave as networks do.

It runs an event loop in a thread of its own; the rows set what it shall do from theirs.
"""

import asyncio
import threading
import time
from typing import Callable, Optional, Set

from .frames import Conversation
from .processes import free_port

Frames = Callable[[], Conversation]


class Link:
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, talk: Optional[Conversation]) -> None:
        self.writers = (client, server)
        self.talk = talk

    def reset(self) -> None:
        """Both ends see a reset, not an orderly end."""
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """Listens on a port of its own and passes everything on to `target`."""

    def __init__(self, target: int, frames: Optional[Frames] = None) -> None:
        self.target = target
        self.frames = frames
        self.port = free_port()
        self.delay = 0.0
        self.commit_delay = 0.0
        self.bytes_per_second: Optional[float] = None
        self.cut_after: Optional[int] = None
        self.refuse = False
        self.accepted = 0
        self.held_back = 0
        self.replies_dropped = 0
        self._drop_reply_to: Optional[str] = None
        self._passing = threading.Event()
        self._passing.set()
        self._links: Set[Link] = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        ready.wait(10)

    def blackhole(self) -> None:
        """From now on nothing comes through, and nobody is told: also not to connections made from now on."""
        self._passing.clear()

    def heal(self) -> None:
        """Passes everything on again. What was swallowed breaks its connection, as it does in a network."""
        broken = {link for link in self._links}
        self._passing.set()
        self._loop.call_soon_threadsafe(lambda: [link.reset() for link in broken])

    def reset(self) -> int:
        """Resets every connection; how many there were."""
        links = list(self._links)
        self._loop.call_soon_threadsafe(lambda: [link.reset() for link in links])
        return len(links)

    def drop_reply_to(self, text: str) -> None:
        """Lets the next statement with `text` in it be executed, keeps its reply, and resets the connection."""
        self._drop_reply_to = text

    def overflow(self) -> int:
        """What the open feeds announce from now on is dropped, and said to be; how often that has happened."""
        talks = [link.talk for link in list(self._links) if link.talk]
        for talk in talks:
            talk.overflowing = True
        return sum(talk.overflowed for talk in talks)

    def open(self) -> int:
        return len(self._links)

    def close(self) -> None:
        """Nobody comes through any more, and whoever tries is refused."""
        self.refuse = True
        self.reset()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refuse:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        talk = self.frames() if self.frames else None
        link = Link(writer, server_writer, talk)
        self._links.add(link)
        up = self._pass(reader, server_writer, link, talk.from_client if talk else None)
        down = self._pass(server_reader, writer, link, talk.from_server if talk else None, is_reply=True)
        try:
            await asyncio.gather(up, down)
        except OSError:
            pass
        finally:
            self._links.discard(link)
            for end in link.writers:
                end.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, link: Link,
                    look: Optional[Callable[..., Optional[bytes]]], is_reply: bool = False) -> None:  # fmt: skip
        while True:
            data = await source.read(65536)
            if is_reply and link.talk and link.talk.writes:
                link.talk.writes = False
                await asyncio.sleep(self.commit_delay)
            if not self._passing.is_set():
                self.held_back += len(data)
                # Also an orderly end is swallowed.
                while not self._passing.is_set():
                    await asyncio.sleep(0.05)
                link.reset()
                return
            if not data:
                if not to.is_closing() and to.can_write_eof():
                    to.write_eof()
                return
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.bytes_per_second:
                await asyncio.sleep(len(data) / self.bytes_per_second)
            if self.cut_after is not None:
                self.cut_after -= len(data)
                if self.cut_after <= 0:
                    to.write(data[: self.cut_after or len(data)])
                    await to.drain()
                    self.cut_after = None
                    link.reset()
                    return
            if look:
                passed = look(data, self._drop_reply_to)
                if passed is None:
                    self._drop_reply_to = None
                    self.replies_dropped += 1
                    link.reset()
                    return
                data = passed
            to.write(data)
            await to.drain()


def pause(seconds: float) -> None:
    """Lets a fault last: the one thing for which there is no state to wait for."""
    time.sleep(seconds)
