"""Starts programs that end with the lab, however the lab ends."""

import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional


def _end_with_parent() -> None:
    # PR_SET_PDEATHSIG; elsewhere than on Linux a lab that is killed leaves its servers behind.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def spawn(
    command: List[str],
    log: Path,
    env: Optional[Dict[str, str]] = None,
    cwd: Optional[Path] = None,
    user: Optional[int] = None,
    stdin: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Starts a program with its output at the end of `log`. Only the main thread may do this: Linux ties
    the child to the thread that made it."""
    who = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=stdin, stdout=output, stderr=output, env=env, cwd=cwd,
            preexec_fn=_end_with_parent, start_new_session=True, **who)  # fmt: skip


def server_user() -> Optional[int]:
    """PostgreSQL refuses to run as root: then it runs as `postgres` or as `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            pass
    return None


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as it:
        it.settimeout(1)
        return it.connect_ex(("127.0.0.1", port)) == 0
