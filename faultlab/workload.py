"""The writers: a program that embeds our library, started with a journal of its own."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Dict, Optional

from .journal import Intent, Journals
from .processes import spawn
from .waiting import until


class Writers:
    """Starts and ends writer programs; all their journals are one history."""

    def __init__(self, program: Path, folder: Path, seed: int) -> None:
        self.program = program
        self.folder = folder
        self.seed = seed
        self.started = 0
        self.journals = Journals(folder)
        self.process: Optional["subprocess.Popen[bytes]"] = None

    def start(self, url: str, *options: str, rate: int = 100) -> None:
        """A new program on the same streams, with choices of its own."""
        self.started += 1
        command = [str(self.program), url, str(self.folder / f"journal-{self.started:04}"),
                   str(self.seed), "--run", str(self.started), "--rate", str(rate), *options]  # fmt: skip
        self.process = spawn(command, self.folder / "writer.log", stdin=subprocess.PIPE)

    def stop(self) -> None:
        """Lets what is under way finish."""
        if self.process and self.process.stdin:
            self.process.stdin.close()
        self.wait()

    def wait(self, within: float = 60) -> None:
        """Until they have ended by themselves."""
        if self.process:
            code = self.process.wait(timeout=within)
            self.process = None
            if code not in (0, -signal.SIGKILL):
                raise RuntimeError(f"writers ended with {code}: {(self.folder / 'writer.log').read_text()[-500:]}")

    def kill(self) -> None:
        """`kill -9`."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, what: int) -> None:
        if self.process:
            os.kill(self.process.pid, what)

    @property
    def intents(self) -> Dict[str, Intent]:
        return self.journals.read().intents

    def acknowledged(self) -> int:
        return self.journals.read().acknowledged

    def until_acknowledged(self, more: int, within: float = 60) -> float:
        """Waits until so many more events were taken."""
        wanted = self.acknowledged() + more
        return until(f"{more} more events are acknowledged", lambda: self.acknowledged() >= wanted, within)
