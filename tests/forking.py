"""``melcli`` for the shells of tests, without the 1.5 s that it takes to load torch.

One process loads melcli and torch, and forks for each command: the fork gets the streams, the
folder, the environment and the words of a small program called ``melcli``, and becomes what
``python -m melcli`` would have been there. ``melcli-python`` runs a file of
Python so, or with ``-m`` a module.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import melcli.cli

if TYPE_CHECKING:
    from collections.abc import Iterator

# Run with -I and -S, it starts in 20 ms. What it tells: its words, then the environment.
_CLIENT = """#!{python} -IS
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"-"], [0, 1, 2])
told = [sys.argv[0].rpartition("/")[2], os.getcwd(), str(len(sys.argv) - 1), *sys.argv[1:]]
told += [f"{{name}}={{value}}" for name, value in os.environ.items()]
server.sendall(b"\\0".join(map(os.fsencode, told)))
server.shutdown(socket.SHUT_WR)
sys.exit(int(server.recv(8) or 70))
"""


@contextlib.contextmanager
def programs(folder: Path) -> Iterator[None]:
    """Put ``melcli`` and ``melcli-python`` into a folder; they work as long as this is open."""
    address = str(folder / "server")
    for name in ("melcli", "melcli-python"):
        program = folder / name
        program.write_text(_CLIENT.format(python=sys.executable, address=address))
        program.chmod(0o755)
    # More threads than cores, in the programs of a pipe, would wait for each other.
    told = {"PYTHONPATH": str(Path(melcli.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-P", __file__, address],
        env={**os.environ, **told}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield


def _next_command(address: str) -> list[str]:
    """Answer until standard input ends. Returns in a fork for each command, with its words."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
        print("ready", flush=True)  # noqa: T201, to who started it
        while select.select([listener, sys.stdin], [], [])[0] == [listener]:
            connection = listener.accept()[0]
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                return _become(connection)
            connection.close()
    sys.exit()


def _become(connection: socket.socket) -> list[str]:
    """Become the command, and leave behind who tells the program how it ended."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    told = b""
    while more := connection.recv(1 << 16):
        told += more
    command = os.fork()
    if command:
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        connection.sendall(str(code if code >= 0 else 128 - code).encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    name, folder, n_words, *rest = map(os.fsdecode, told.split(b"\0"))
    os.chdir(folder)
    os.environ.clear()
    for entry in rest[int(n_words) :]:
        variable, _, value = entry.partition("=")
        os.environ[variable] = value
    return [name, *rest[: int(n_words)]]


def _run(words: list[str]) -> int:
    """Run a command; what it exits with."""
    sys.argv = words if words[0] == "melcli" else words[1:]
    try:
        if words[0] == "melcli":
            melcli.cli.main()
        elif words[1] == "-m":
            del sys.argv[0]
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[1], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001, whatever ends a program, Python prints it
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for module in pkgutil.walk_packages(melcli.__path__, "melcli."):
        importlib.import_module(module.name)
    with contextlib.suppress(ImportError):
        importlib.import_module("matplotlib.font_manager")
        importlib.import_module("matplotlib.backends.backend_agg")
    gc.freeze()  # or each command would look through all that torch has made, and so copy it
    exit_code = _run(_next_command(sys.argv[1]))
    sys.stdout.flush()
    os._exit(exit_code)  # taking torch down would be most of what a command takes
