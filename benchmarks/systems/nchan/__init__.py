"""Nchan, a module of nginx, with its messages in Redis.

A client that comes back names the id of the last message it saw, which the `ws+meta.nchan`
subprotocol puts before each. A publisher is a connection of its own: what is published over a
connection that also subscribes is not acknowledged. There is no membership and no idempotency, and
nothing tells a client that it has caught up.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.systems.base import SECRET, TEXT, Deployment, Dialect, Seat, Session, Unavailable
from benchmarks.systems.peer import Peer, command_output, room_name, upgrade
from benchmarks.systems.processes import HOST, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
NCHAN = "ngx_nchan_module.so"
NJS = "ngx_http_js_module.so"
CONNECTIONS = 16_384  # of one worker
PACKAGE = "libnginx-mod-nchan"
GET_IT = f"apt install {PACKAGE} libnginx-mod-http-js"  # njs, to verify tokens


class Nchan(Peer):
    """One nginx a replica: a master, and a worker that serves."""

    name = "Nchan"
    key = "nchan"
    is_for_all_storms = True
    needs_publishers = True

    @property
    def can_authenticate(self) -> bool:  # type: ignore[override]  # depends on what is installed
        """Whether njs is there, which verifies a token without another server."""
        folder = modules()
        return folder is not None and (folder / NJS).is_file()

    def why_unavailable(self) -> str | None:
        """Name nginx or the module."""
        if nginx() is None:
            return f"nginx is missing: {GET_IT}"
        folder = modules()
        if folder is None or not (folder / NCHAN).is_file():
            return f"nginx has no {NCHAN}: {GET_IT}"
        return None

    def versions(self) -> dict[str, str]:
        """Of nginx and, as Debian has it, of the module."""
        text = command_output(nginx() or "", "-v")
        return {"nginx": text.partition("nginx/")[2].split()[0], "nchan": nchan_version()}

    def launch(self, replica: int, port: int, deployment: Deployment) -> ServerProcess:
        """Write the configuration into a folder of its own and start nginx on it."""
        folder = Path(deployment.folder) / f"nchan-{replica}"
        folder.mkdir(exist_ok=True)
        (folder / "nginx.conf").write_text(configuration(port, deployment))
        return ServerProcess(
            [nginx() or "", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")],
            cores=deployment.cores,
            log=folder / "log",
            environment=os.environ | {"JWT_SECRET": SECRET},
        )

    def is_ready(self, port: int) -> bool:
        """Whether it listens and has found Redis; until then it answers 503."""
        connection = HTTPConnection(HOST, port, timeout=1.0)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == HTTPStatus.NOT_FOUND
        except OSError:
            return False
        finally:
            connection.close()

    @property
    def dialect(self) -> Dialect:
        """Its pings are WebSocket's own."""
        return Dialect(acknowledgement=b'"last_message_id"')

    def session(self, seat: Seat, *, text_bytes: int) -> Session:  # noqa: ARG002
        """A subscriber."""
        return Subscriber(seat, with_auth=self.with_auth)

    def publisher(self, seat: Seat, *, text_bytes: int) -> Session:  # noqa: ARG002
        """A publisher, for one room."""
        return Publisher(seat, with_auth=self.with_auth)


class NchanSession(Session):
    """A connection to a location of one room."""

    location: str
    headers: tuple[str, ...]

    def __init__(self, seat: Seat, *, with_auth: bool, last: str | None = None) -> None:
        self._seat = seat
        self._with_auth = with_auth
        self._last = last

    def opening(self) -> bytes:
        """The room is in the path, all else in the query."""
        query = [f"token={self._seat.token}"] if self._with_auth else []
        if self._last is not None:
            query += [f"last_event_id={self._last}"]
        path = f"/{self.location}/{room_name(self._seat.rooms[0])}"
        return upgrade(f"{path}?{'&'.join(query)}", *self.headers)

    def opened(self) -> Iterable[bytes]:
        """It is where it wanted to be."""
        self.is_joined = True
        return ()


class Subscriber(NchanSession):
    """It hears a room."""

    location = "room"
    headers = ("Sec-WebSocket-Protocol: ws+meta.nchan",)

    def received(self, message: bytes) -> Iterable[bytes]:
        r"""Remember the id of `id: 1700000000:0\n\ntext`."""
        if message.startswith(b"id: "):
            self._last = message[4 : message.index(b"\n")].decode()
        return ()

    def publishing(self, room: int) -> bytes:
        """Not here."""
        raise NotImplementedError("a publisher of Nchan is a connection of its own")

    def resumed(self) -> Session:
        """The same client, after the last id it saw."""
        return Subscriber(self._seat, with_auth=self._with_auth, last=self._last)


class Publisher(NchanSession):
    """Every message is published, and answered with what is known of the channel."""

    location = "publish"
    headers = ("Accept: text/json",)

    def received(self, message: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """Take an acknowledgement."""
        return ()

    def publishing(self, room: int) -> bytes:  # noqa: ARG002
        """The text itself."""
        return TEXT

    def resumed(self) -> Session:
        """Another one: it has no place in a room."""
        return Publisher(self._seat, with_auth=self._with_auth)


def nginx() -> str | None:
    """Where it is; Debian has it in a folder that is not on everyone's PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def modules() -> Path | None:
    """Where this nginx looks for modules."""
    program = nginx()
    if program is None:
        return None
    try:
        arguments = command_output(program, "-V")
    except Unavailable:
        return None
    found = re.search(r"--modules-path=(\S+)", arguments)
    return Path(found[1] if found else "/usr/lib/nginx/modules")


def nchan_version() -> str:
    """Of the package it came in; the module does not tell its own."""
    try:
        return command_output("dpkg-query", "-W", "-f", "${Version}", PACKAGE)
    except Unavailable:
        return "unknown"


def configuration(port: int, deployment: Deployment) -> str:
    """What nginx is to do."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    words: dict[str, object] = {"MODULES": modules(), "WORKERS": deployment.workers, "PORT": port}
    words |= {"REDIS": deployment.redis.url, "CONNECTIONS": min(CONNECTIONS, files)}
    words |= {"FILES": files, "LOAD_NJS": "", "JS": "", "VERIFY": ""}
    if deployment.with_auth:
        words["LOAD_NJS"] = f"load_module {modules()}/{NJS};\nenv JWT_SECRET;"
        words["JS"] = f"js_path {HERE}; js_import jwt from jwt.js; js_set $granted jwt.granted;"
        words["VERIFY"] = 'if ($granted = "") { return 403; }'
    text = (HERE / "nginx.conf").read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    return text
