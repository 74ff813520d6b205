"""No process outlives its launcher: a child ends when the pipe on its standard input closes, even after kill -9.

`hold()` puts the own process on the leash, `python -m demo.leash COMMAND …` a program that knows nothing of it.
"""

import os
import signal
import subprocess
import sys
import threading
import time

PATIENCE_SECONDS = 10


def hold(child: "subprocess.Popen[bytes] | None" = None) -> None:
    """End this process, or its `child`, when the launcher is gone: SIGTERM, and what cannot wait is killed."""
    pid = child.pid if child else os.getpid()
    threading.Thread(target=_watch, args=(pid,), daemon=True).start()


def _watch(pid: int) -> None:
    while os.read(0, 1024):
        pass
    os.kill(pid, signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)
    os.kill(pid, signal.SIGKILL)


def main(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    hold(child)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
