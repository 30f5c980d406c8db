"""Just enough of both protocols to keep back the reply to one statement, after the server has executed it.

`from_client` and `from_server` are given what comes, and what the lab wants dropped; they answer what to pass
on. None means: the statement is done, its reply is in hand, break the connection now.
"""

import json
import re
import struct
from typing import Dict, List, Optional, Tuple


class Conversation:
    """One connection, seen from between."""

    # Whether what a feed announces is replaced by what says that it was dropped, and how often it was.
    overflowing = False
    overflowed = 0
    # Whether the reply that is awaited is to a statement that writes.
    writes = False

    def from_client(self, data: bytes, drop: Optional[str]) -> Optional[bytes]:
        raise NotImplementedError

    def from_server(self, data: bytes, drop: Optional[str]) -> Optional[bytes]:
        raise NotImplementedError


# What ends with a commit.
WRITES = re.compile(rb"^commit|\b(insert|update|delete)\b|projectord\.(apply|claim|keep_leases|ingest)\(", re.IGNORECASE)


class PostgresTalk(Conversation):
    """Statements are named once and executed by name, so names are remembered."""

    def __init__(self) -> None:
        self.up = b""
        self.down = b""
        self.begun = False
        self.statements: Dict[bytes, bytes] = {}
        self.marked = False
        self.kept = b""

    def from_client(self, data: bytes, drop: Optional[str]) -> Optional[bytes]:
        self.up += data
        while True:
            # Before the first message with a type there are start-up packets, and perhaps a request for TLS.
            header = 5 if self.begun else 4
            if len(self.up) < header:
                return data
            (length,) = struct.unpack("!I", self.up[header - 4 : header])
            size = length + header - 4
            if len(self.up) < size:
                return data
            message, self.up = self.up[:size], self.up[size:]
            if not self.begun:
                self.begun = message[4:8] == b"\x00\x03\x00\x00"
                continue
            self._look(message[:1], message[5:], drop)

    def _look(self, kind: bytes, body: bytes, drop: Optional[str]) -> None:
        text = b""
        if kind == b"P":
            name, text, *_ = body.split(b"\0", 2)
            self.statements[name] = text
            return
        if kind == b"B":
            _, name, *_ = body.split(b"\0", 2)
            text = self.statements.get(name, b"")
        elif kind == b"Q":
            text = body
        if drop and drop.encode() in text:
            self.marked = True
        if WRITES.search(text):
            self.writes = True

    def from_server(self, data: bytes, drop: Optional[str]) -> Optional[bytes]:
        if not self.marked:
            return data
        # ReadyForQuery comes after the commit; it stands at the end of what the server sends.
        self.kept += data
        return None if b"Z\x00\x00\x00\x05" in self.kept else b""


NOW = re.compile(rb"\[103(?:,\[\])?(?:,\{\})?\]")
# How a changefeed that has lost rows says so.
OVERFLOW = {"error": "Changefeed cache over array size limit, skipped 1 elements."}


class RethinkTalk(Conversation):
    """After the handshake: token, length, JSON. Replies carry the token of their query.

    `skew` makes the server one whose clock is so many seconds ahead: what it stores takes the time from there.
    """

    def __init__(self, skew: int = 0) -> None:
        self.skew = skew
        self.up = b""
        self.down = b""
        self.strings_up = 2
        self.strings_down = 3
        self.magic = False
        self.marked: List[bytes] = []
        self.feeds: List[bytes] = []

    def from_client(self, data: bytes, drop: Optional[str]) -> Optional[bytes]:
        self.up += data
        whole = self.up
        if not self.magic:
            if len(self.up) < 4:
                return b""
            self.up, self.magic = self.up[4:], True
        self.up, self.strings_up = _after_strings(self.up, self.strings_up)
        passed = whole[: len(whole) - len(self.up)]
        if self.strings_up:
            return passed
        frames, self.up = _frames(self.up)
        self.marked += [token for token, text in frames if drop and drop.encode() in text]
        # 152 is a feed in RethinkDB's terms.
        self.feeds += [token for token, text in frames if b"[152," in text]
        for token, text in frames:
            if self.skew:
                # 103 is now, 24 is plus.
                text = NOW.sub(b"[24,[[103,[]],%d]]" % self.skew, text)
            passed += token + struct.pack("<I", len(text)) + text
        return passed

    def from_server(self, data: bytes, drop: Optional[str]) -> Optional[bytes]:
        self.down += data
        before = len(self.down)
        whole = self.down
        self.down, self.strings_down = _after_strings(self.down, self.strings_down)
        passed = whole[: before - len(self.down)]
        if self.strings_down:
            return passed
        frames, self.down = _frames(self.down)
        if any(token in self.marked for token, _ in frames):
            return None
        for token, text in frames:
            if self.overflowing and token in self.feeds and b'"new_val"' in text:
                text = json.dumps({**json.loads(text), "r": [OVERFLOW]}).encode()
                self.overflowed += 1
            passed += token + struct.pack("<I", len(text)) + text
        return passed


def _after_strings(data: bytes, count: int) -> Tuple[bytes, int]:
    while count and b"\0" in data:
        data, count = data.split(b"\0", 1)[1], count - 1
    return data, count


def _frames(data: bytes) -> Tuple[List[Tuple[bytes, bytes]], bytes]:
    frames = []
    while len(data) >= 12:
        (length,) = struct.unpack("<I", data[8:12])
        if len(data) < 12 + length:
            break
        frames.append((data[:8], data[12 : 12 + length]))
        data = data[12 + length :]
    return frames, data
