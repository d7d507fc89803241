"""Run the suite's fuzzing client against the gateway's transport, and sum up what it found.

    python -m tools.autobahn [--wstest PROGRAM] [--ws MODULE:CLASS] [--compression] [--cases 9.* …]

The transport is the gateway's own: `uvicorn_config` and `GatewayServer`, with an application that
echoes. The suite's report, a page for each case, is put into `build/autobahn`. It exits with 1
when a case failed, and with 2 when there is no `wstest`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import cast

from gateway.settings import Settings
from gateway.transport import GatewayServer, TransportConfig, uvicorn_config
from tools.autobahn.echo import echo

REPORT = Path("build") / "autobahn"
MAX_FRAME_BYTES = 17 * 1024 * 1024  # cases 9.*: messages of up to 16 MiB
COMPRESSED = ["12.*", "13.*"]  # cases of permessage-deflate
AGENT = "gateway"
LIMIT_S = 3_600.0  # cases 12.* and 13.* took 15 minutes on two busy cores, the others one

# The suite's words for a case in which nothing was done wrong.
FINE = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}

NO_WSTEST = """\
There is no `{program}` here: the fuzzing client of Autobahn|Testsuite. It needs Python 2.7:

    python2.7 -m pip install virtualenv
    python2.7 -m virtualenv build/wstest
    build/wstest/bin/pip install autobahntestsuite==25.10.1
    make autobahn ARGS="--wstest build/wstest/bin/wstest"

The run itself takes a minute; with --compression a quarter of an hour more.
"""


def main() -> int:
    """Run the cases that were asked for."""
    options = _options()
    wstest = shutil.which(options.wstest)
    if wstest is None:
        print(NO_WSTEST.format(program=options.wstest), end="", file=sys.stderr)
        return 2
    config = _config(options.ws, has_compression=options.compression)
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    excluded = [] if options.compression else COMPRESSED
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_fuzz(config, wstest, cases=options.cases, excluded=excluded))
    return _sum_up()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.autobahn", description=__doc__)
    parser.add_argument("--wstest", default="wstest", help="the suite's program")
    parser.add_argument("--ws", help="protocol class to serve, as module:Class; the gateway's")
    parser.add_argument("--compression", action="store_true", help="with permessage-deflate")
    parser.add_argument("--cases", nargs="+", default=["*"], help="such as 9.* or 1.1.1; all")
    return parser.parse_args()


def _config(ws: str | None, *, has_compression: bool) -> TransportConfig:
    settings = Settings(port=0, max_frame_bytes=MAX_FRAME_BYTES, compression=has_compression)
    if ws is None:
        return uvicorn_config(echo, settings)
    module, _, name = ws.partition(":")
    protocol = cast("type[asyncio.Protocol]", getattr(importlib.import_module(module), name))
    return uvicorn_config(echo, settings, ws=protocol)


async def _fuzz(
    config: TransportConfig, wstest: str, *, cases: list[str], excluded: list[str]
) -> None:
    """Serve while the fuzzing client runs.

    Raises:
        CalledProcessError: it did not come to its end.
        TimeoutError: it took longer than LIMIT_S.
    """
    async with GatewayServer(config).running() as server:
        print(f"fuzzing {config.ws_protocol_class} on port {server.bound_port}")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as spec:
            url = f"ws://127.0.0.1:{server.bound_port}"
            json.dump(_spec(url, cases, excluded), spec)
            spec.flush()
            await _wstest([wstest, "--mode", "fuzzingclient", "--spec", spec.name])


def _spec(url: str, cases: list[str], excluded: list[str]) -> dict[str, object]:
    return {
        "outdir": str(REPORT),
        "servers": [{"agent": AGENT, "url": url}],
        "cases": cases,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }


async def _wstest(command: list[str]) -> None:
    with (REPORT / "wstest.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
    if status != 0:
        raise subprocess.CalledProcessError(status, command)


def _sum_up() -> int:
    """Print how many cases ended how, and those that failed; return the exit code."""
    index = json.loads((REPORT / "index.json").read_text())
    found: dict[str, dict[str, str]] = index.get(AGENT, {})
    counts = Counter(case["behavior"] for case in found.values())
    print(f"{len(found)} cases: " + ", ".join(f"{n} {word}" for word, n in counts.most_common()))
    closes = Counter(case["behaviorClose"] for case in found.values())
    print("their closing: " + ", ".join(f"{n} {word}" for word, n in closes.most_common()))
    failed = [name for name, case in found.items() if not _is_fine(case)]
    for name in sorted(failed, key=_number):
        case = found[name]
        page = REPORT / case["reportfile"].replace(".json", ".html")
        print(f"FAILED {name}: {case['behavior']}, closing {case['behaviorClose']}; {page}")
    return 1 if failed or not found else 0


def _is_fine(case: dict[str, str]) -> bool:
    return case["behavior"] in FINE and case["behaviorClose"] in FINE


def _number(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]


if __name__ == "__main__":
    sys.exit(main())
