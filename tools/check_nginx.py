"""Check deploy/nginx with `nginx -t`, if nginx is on this machine.

The replicas' names resolve only inside the compose network, so the check (and the tests, which
run nginx with this configuration) puts other addresses and another port in their place.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "deploy" / "nginx"
LISTEN = "listen 8080 "
TEMPORARY = "/tmp/"  # noqa: S108  (in the container, where it is a file system of its own)


def write_config(folder: Path, *, port: int, upstreams: list[str]) -> Path:
    """Write the configuration into `folder`, for loopback, and return its main file.

    Args:
        folder: where the configuration goes, and all that nginx writes.
        port: where nginx listens on 127.0.0.1.
        upstreams: the gateways, each as `host:port`.
    """
    text = (FOLDER / "nginx.conf").read_text(encoding="utf-8")
    text = text.replace(LISTEN, f"listen 127.0.0.1:{port} ").replace(TEMPORARY, f"{folder}/")
    main_file = folder / "nginx.conf"
    main_file.write_text(text, encoding="utf-8")
    servers = "".join(f"server {address};\n" for address in upstreams)
    (folder / "replicas.conf").write_text(servers, encoding="utf-8")
    return main_file


def nginx_command(main_file: Path, *options: str) -> list[str] | None:
    """Return the words that start nginx with this configuration, or None without nginx."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        return None
    return [nginx, "-p", str(main_file.parent), "-e", "stderr", "-c", str(main_file), *options]


def main() -> int:
    """Return the exit code: 0 if the configuration is good or cannot be checked here."""
    with tempfile.TemporaryDirectory() as folder:
        main_file = write_config(Path(folder), port=8080, upstreams=["127.0.0.1:8001"])
        command = nginx_command(main_file, "-t")
        if command is None:
            print("deploy/nginx: not checked, there is no nginx on this machine")
            return 0
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if result.returncode or "[warn]" in result.stderr:
        print(f"deploy/nginx: {result.stderr.strip()}", file=sys.stderr)
        return 1
    print("deploy/nginx: good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
