"""`python -m demo.rabbitmq FOLDER AMQP MANAGEMENT METRICS`: a RabbitMQ node of one's own on loopback, until SIGTERM.

Its epmd is a child too, so that nothing outlives the demo; never a system service, files in the folder only.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def environment(folder: Path, amqp: int, management: int, metrics: int) -> dict[str, str]:
    """Writes the node's configuration and says how it is found."""
    lines = [f"listeners.tcp.default = 127.0.0.1:{amqp}", "collect_statistics_interval = 1000"]
    for plugin, port in (("management", management), ("prometheus", metrics)):
        lines += [f"{plugin}.tcp.ip = 127.0.0.1", f"{plugin}.tcp.port = {port}"]
    (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
    (folder / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),  # the cookie lies there
        "ERL_EPMD_PORT": str(_free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"shop{amqp}@localhost",
        "RABBITMQ_DIST_PORT": str(_free_port()),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(folder: str, amqp: str, management: str, metrics: str) -> int:
    told = environment(Path(folder), int(amqp), int(management), int(metrics))
    epmd = [shutil.which("epmd") or "epmd", "-port", told["ERL_EPMD_PORT"], "-address", "127.0.0.1"]
    running = [
        subprocess.Popen(command, env=told, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True)
        for command in (epmd, [str(SERVER)])
    ]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while running[1].poll() is None:
            time.sleep(0.2)
        return running[1].returncode or 0
    except KeyboardInterrupt:
        return 0
    finally:
        for process in reversed(running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
