"""Whether the lab sees bugs: each is built in, and a row must find it. `make sabotage` is the way in."""

import subprocess
import sys
from typing import Dict, Tuple

# Which row is to find which bug, and on which backend.
BUGS: Dict[str, Tuple[str, str]] = {
    "checkpoint-after": ("F08", "postgres"),
    "checkpoint-before": ("F08", "postgres"),
    "no-compare": ("F04", "rethinkdb"),
    "epoch-alone": ("F04", "rethinkdb"),
    "wanted-passed": ("F08", "postgres"),
    "feed-payload": ("F19", "rethinkdb"),
    "overflow-ignored": ("F20B", "rethinkdb"),
    "no-reread": ("F20B", "rethinkdb"),
    "error-skipped": ("F15", "postgres"),
    "new-commit-id": ("F21", "rethinkdb"),
    "head-first": ("F23", "rethinkdb"),
    "commit-split": ("F01", "rethinkdb"),
    "always-ready": ("F29", "postgres"),
}


def main() -> int:
    """Each bug in a lab of its own; the lab's last line says whether it was seen."""
    wanted = sys.argv[1:] or list(BUGS)
    missed = []
    for bug in wanted:
        rows, backend = BUGS[bug]
        done = subprocess.run([sys.executable, "-m", "faultlab", "--rows", rows, "--backend", backend, "--sabotage", bug],
                              capture_output=True, text=True)  # fmt: skip
        found = [line.strip() for line in done.stdout.splitlines() if line.startswith("      ")]
        print(f"{bug:18} {rows:5} {backend:10} {'caught' if done.returncode == 0 else 'NOT CAUGHT'}: {found[0] if found else done.stdout[-300:] + done.stderr[-300:]}", flush=True)  # fmt: skip
        if done.returncode:
            missed.append(bug)
    print(f"sabotage: {len(wanted) - len(missed)} of {len(wanted)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
