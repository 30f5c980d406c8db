"""A way to a server that can be cut, stalled, or made to lose one reply."""

from __future__ import annotations

import socket
import struct
import threading

from servers import free_port


class Proxy:
    """Passes bytes both ways until told otherwise; what it is told holds for connections to come as well."""

    def __init__(self, server: int) -> None:
        self.server, self.port = server, free_port()
        self.passing = threading.Event()
        self.passing.set()
        self.closed = False
        # How often a reply was lost, and how often that is still to happen.
        self.lost = 0
        self.lose = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._deaf: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> int:
        """Resets every connection; how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    # A reset and not an orderly end.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    continue
                close(end)
        return len(pairs)

    def blackhole(self) -> int:
        """Nothing passes any more, and nobody is told; how many connections that met."""
        self.passing.clear()
        return len(self._pairs)

    def go_deaf(self) -> int:
        """Half-open: nothing passes on the connections that there are; new ones pass. How many that met."""
        with self._lock:
            met = [pair for pair in self._pairs if not self._deaf.issuperset(pair)]
            self._deaf.update(end for pair in met for end in pair)
        return len(met)

    def heal(self) -> None:
        """As after a blackhole: what was under way is gone, what comes passes."""
        self.reset()
        self.passing.set()

    def lose_reply(self, times: int) -> None:
        """The next answers to what looks like the end of a statement are lost with their connections."""
        self.lose = times

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.server), timeout=5)
            except OSError:
                close(near)
                continue
            far.settimeout(None)
            with self._lock:
                self._pairs.append((near, far))
            threading.Thread(target=self._copy, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, True), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, is_reply: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                self.passing.wait()
                if source in self._deaf:
                    continue
                # PostgreSQL: CommandComplete of a select, which is how a batch is asked for. RethinkDB: any.
                if is_reply and self.lose > 0 and (b"SELECT 1\0" in data or b'"inserted"' in data):
                    self.lose -= 1
                    self.lost += 1
                    break
                target.sendall(data)
        except OSError:
            pass
        close(source)
        close(target)


def close(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
