"""A process that tells what it was given: ``python -m tests.told``."""

import atexit
import os
import sys
from pathlib import Path


def main() -> int:
    """Do what the first word says; without one, tell what it has."""
    word, *more = sys.argv[1:] or [""]
    if word == "exit":
        return int(more[0])
    if word == "raise":
        return 1 // 0
    if word == "at exit":
        atexit.register(Path(more[0]).touch)
        return 0
    if word == "imported":
        print(*sys.modules, sep="\n")
        return 0
    if word == "wait":
        print(os.getpid(), flush=True)
        sys.stdin.read()
        return 0
    threads = f"{len(os.listdir('/proc/self/task'))} thread"
    print(os.getcwd(), os.environ.get("FEDGIN_TOLD"), sys.stdin.read(), threads, "torch" in sys.modules, sep="\n")
    for argument in sys.argv[1:]:
        print(argument)
    return 0


if __name__ == "__main__":
    sys.exit(main())
