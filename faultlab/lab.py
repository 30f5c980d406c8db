"""What all rows of a lane share: the programs, the seed, and the servers."""

import shutil
import tempfile
from pathlib import Path
from typing import Optional

from .registry import RETHINK
from .servers import Postgres, Rethink, has_rethinkdb


class Lab:
    """Starts the servers once; each row has databases of its own on them."""

    def __init__(self, binary: Path, writer: Path, profile: str, seed: int, backend: str) -> None:
        self.binary = binary
        self.writer = writer
        self.profile = profile
        self.seed = seed
        self.folder = Path(tempfile.mkdtemp(prefix="projectord-faults-"))
        # The server may run as another user, who must come to its folder.
        self.folder.chmod(0o755)
        self.postgres = Postgres(self.folder / "pg").make()
        self.postgres.start()
        self.rethink: Optional[Rethink] = None
        if backend == RETHINK and has_rethinkdb():
            self.rethink = Rethink(self.folder / "rethink")
            self.rethink.start()

    def close(self, keep: bool) -> None:
        self.postgres.kill()
        if self.rethink:
            self.rethink.kill()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
