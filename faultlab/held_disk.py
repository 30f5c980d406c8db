"""A disk that takes nothing: the threads of a server that wait for work on files are stopped, the others go on."""

import ctypes
import os
import signal
from pathlib import Path
from typing import List

LIBC = ctypes.CDLL(None, use_errno=True)
# From <sys/ptrace.h> and <sys/wait.h>.
SEIZE, INTERRUPT = 0x4206, 0x4207
WAIT_ALL = 0x40000000
# The system call in which a thread waits for work; those that serve clients wait in another, for sockets.
FUTEX = {"x86_64": "202", "aarch64": "98"}


class HeldDisk:
    """From `hold` on nothing that a process writes comes to its files, until it is killed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.threads: List[int] = []

    def hold(self) -> bool:
        """Whether that can be done here."""
        waiting = FUTEX.get(os.uname().machine)
        for task in Path(f"/proc/{self.pid}/task").glob("*"):
            try:
                # The first thread is the process, whose end others wait for.
                if int(task.name) != self.pid and (task / "syscall").read_text().split(" ")[0] == waiting:
                    self.stop(int(task.name))
            except OSError:
                # It has just ended; or we have not the right, for any of them.
                continue
        return bool(self.threads)

    def stop(self, thread: int) -> None:
        for request in (SEIZE, INTERRUPT):
            if LIBC.ptrace(request, thread, None, None):
                raise OSError(ctypes.get_errno(), "ptrace")
        os.waitpid(thread, WAIT_ALL)
        self.threads.append(thread)

    def kill(self) -> None:
        """As it is now. Who traces threads must see them end before others see the process end."""
        os.kill(self.pid, signal.SIGKILL)
        for thread in self.threads:
            os.waitpid(thread, WAIT_ALL)
