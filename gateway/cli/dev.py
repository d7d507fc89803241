"""The secret of `--dev`: made once, kept in the data folder, readable by this user only."""

from __future__ import annotations

import os
import secrets
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from gateway.errors import DataFolderInUse
from gateway.store.embedded.file_names import SECRET_FILE

if TYPE_CHECKING:
    from pathlib import Path

DEV_TOKEN_TTL_S = 30 * 86_400  # a demonstration left open over a holiday still works
PUBLIC_TOKEN_TTL_S = 3_600  # where others can use it, and may read it in a log


def dev_secret(data_dir: Path) -> str:
    """The secret of this data folder, made if there is none.

    Raises:
        DataFolderInUse: the folder cannot be written.
    """
    from gateway.store.embedded.data_folder import DataFolder
    from gateway.store.embedded.file_modes import belongs_to_another

    path = data_dir / SECRET_FILE
    DataFolder(data_dir).prepare()
    try:
        _offer(path)
        if belongs_to_another(path):  # who made it knows it
            raise DataFolderInUse(str(data_dir), f"{SECRET_FILE} in it is another user's")
        return path.read_text().strip()
    except OSError as exc:
        raise DataFolderInUse(str(data_dir), f"cannot keep a secret there: {exc}") from exc


def _offer(path: Path) -> None:
    """Write a secret there, whole, unless there is one: of two starts at once, one's is kept."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)  # of a process that was killed here
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        found = socket.getaddrinfo(host or None, None, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    addresses = [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
    return bool(addresses) and all(_is_loopback(address) for address in addresses)


def _is_loopback(address: IPv4Address | IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def token_ttl_s(host: str) -> int:
    """How long the token lives that `--dev` prints."""
    return DEV_TOKEN_TTL_S if is_loopback(host) else PUBLIC_TOKEN_TTL_S


def folder_with_secret(data_dir: Path) -> Path | None:
    """The data folder of a gateway with `--dev`: this one, or one of its name further up.

    So commands find it from anywhere in a clone in which `make run` was called. Only folders of
    this user are looked at.
    """
    for above in (data_dir.parent, *data_dir.parent.parents):
        folder = above / data_dir.name
        if _is_ours(folder / SECRET_FILE):
            return folder
    return None


def _is_ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.getuid()
    except OSError:
        return False


def find_dev_secret(data_dir: Path) -> str | None:
    """The secret of a gateway that ran with `--dev` on this folder, if one did."""
    try:
        return (data_dir / SECRET_FILE).read_text().strip() or None
    except OSError:
        return None
