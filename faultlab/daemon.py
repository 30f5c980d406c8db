"""A running `projectord run`, configured by its environment as the tests do it."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, Optional

from .processes import spawn

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Daemon:
    """One process of one project. Its log is kept, to be searched for what must not be in it."""

    def __init__(self, binary: Path, folder: Path, env: Dict[str, str], name: str) -> None:
        self.log_file = folder / f"daemon-{name}.log"
        self.begins = self.log_file.stat().st_size if self.log_file.exists() else 0
        self.process = spawn([str(binary), "run"], self.log_file, env=env, cwd=folder)

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> bool:
        """`kill -9`; whether there was something to kill."""
        alive = self.alive()
        self.process.kill()
        self.process.wait()
        return alive

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def term(self) -> None:
        if self.alive():
            os.kill(self.pid, signal.SIGTERM)

    def reload(self) -> None:
        os.kill(self.pid, signal.SIGHUP)

    def ended_within(self, seconds: float) -> Optional[int]:
        """Its exit code, or None where it goes on; then it is killed."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def stop(self, within: float = 8.0) -> "tuple[Optional[int], float]":
        """SIGTERM: its exit code, and how long it took."""
        begun = time.monotonic()
        self.term()
        return self.ended_within(within), time.monotonic() - begun

    def log(self) -> str:
        """What this process has said."""
        with self.log_file.open("rb") as file:
            file.seek(self.begins)
            return COLOURS.sub("", file.read().decode(errors="replace"))

    def peak_mib(self) -> float:
        """The most memory that it has ever had in use, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found.group(1)) / 1024 if found else 0.0
