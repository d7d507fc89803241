"""What is kept of a scenario that failed, and how it is told."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tests.failover.checker import judge
from tests.failover.stream import Stream, Surviving

if TYPE_CHECKING:
    from tests.failover.checker import Verdict
    from tests.failover.scenario import Outcome
    from tests.failover.told import Fault

KEPT = Path("build/failover")
SHOWN = 220  # characters of one fault


def explained(outcome: Outcome) -> str:
    """Tell the plan, what was done and when, and which client lacks what."""
    lines = [f"{outcome.plan}", *outcome.stage.said]
    by_kind = sorted(outcome.verdict.faults, key=lambda one: (one.client, one.kind))
    for (client, kind), faults in groupby(by_kind, key=lambda one: (one.client, one.kind)):
        lines.append(_line(client, kind, list(faults)))
    lines += [fault[:SHOWN] for fault in outcome.wire_faults[:10]]
    errors = f"errors {dict(outcome.errors)}, sessions not resumed {dict(outcome.losses)}"
    return "\n".join([*lines, errors])


def _line(client: str, kind: str, faults: list[Fault]) -> str:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"  {client}: {kind}: {faults[0].text[:SHOWN]}{more}"


def judged_again(path: Path) -> Verdict:
    """Judge what was kept, by the checker of now."""
    kept = json.loads(path.read_text())
    base, events = kept["base"], {(epoch, offset): event for epoch, offset, event in kept["log"]}
    surviving = Surviving(
        kept["history"],
        kept["context"],
        kept["context"]["position"],
        events,
        is_whole=kept["is_whole"],
        base=(base["epoch"], base["offset"]),
    )
    return judge([Stream(**stream) for stream in kept["streams"]], surviving)


def keep(outcome: Outcome, folder: Path = KEPT) -> Path:
    """Write all that was recorded to a file; return its path."""
    plan = outcome.plan
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plan.kind.name}-{plan.topology}-{plan.durability}-{plan.seed}.json"
    record = {
        "plan": str(plan),
        "said": outcome.stage.said,
        "faults": outcome.faults,
        "errors": outcome.errors,
        "base": outcome.stage.base,
        "history": outcome.surviving.history,
        "context": outcome.surviving.context,
        "log": [[*name, event] for name, event in outcome.surviving.events.items()],
        "is_whole": outcome.surviving.is_whole,
        "logs": outcome.logs,
        "streams": [asdict(member.stream) for member in outcome.stage.members],
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False))
    return path
