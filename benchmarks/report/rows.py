"""The lines of the table: what is compared, with whom, and what was aimed at."""

from __future__ import annotations

from dataclasses import dataclass

SLOW = ("python-socketio", "Channels")
SLOW_WITH_TOKENS = tuple(f"{name}, authenticated" for name in SLOW)
TOKENS = ("Nchan, authenticated",)


@dataclass(frozen=True, slots=True)
class Row:
    """One line.

    Attributes:
        against: names of entries; the best of them is compared. Empty: of all peers that are run
            as `is_authenticated` says.
        target: the ratio to the compared, at least if more is better, at most otherwise.
    """

    label: str
    workload: str
    case: str
    metric: str
    unit: str
    more_is_better: bool = True
    is_authenticated: bool = False
    against: tuple[str, ...] = ()
    target: float | None = None


def _sent(label: str, case: str, target: float | None, against: tuple[str, ...] = ()) -> Row:
    return Row(label, "fanout", case, "deliveries_per_s", "/s", against=against, target=target)


def _storm(
    label: str, case: str, against: tuple[str, ...], target: float | None, workload: str = "storm"
) -> Row:
    return Row(
        label, workload, case, "total_s", "s", more_is_better=False, against=against, target=target
    )


def _one_at_a_time(receivers: int, target: float | None) -> Row:
    case = f"1 room of {receivers}, one at a time"
    against = ("Nchan",) if target else ()
    return Row(
        f"{case}, messages", "fanout", case, "messages_per_s", "/s", against=against, target=target
    )


ROWS = (
    _sent("100 rooms of 2, saturated: deliveries", "100 rooms of 2, saturated", 4.0),
    _sent("1 room of 2, saturated: deliveries", "1 room of 2, saturated", None),
    _sent("1 room of 100, saturated: deliveries", "1 room of 100, saturated", 6.0),
    _sent("1 room of 1000, saturated: deliveries", "1 room of 1000, saturated", 6.0),
    _sent("the same, against Python's", "1 room of 1000, saturated", 20.0, SLOW),
    _one_at_a_time(2, 0.95),
    _one_at_a_time(100, None),
    _one_at_a_time(1000, None),
    Row(
        "p99 at 5,000 messages/s",
        "rate",
        "5,000 messages/s over 100 rooms of 2",
        "p99_ms",
        "ms",
        more_is_better=False,
        target=0.25,
    ),
    Row(
        "authenticated connects",
        "connects",
        "connects",
        "connects_per_s",
        "/s",
        is_authenticated=True,
        target=2.0,
    ),
    _storm("storm of 2000, cold", "2000 clients, cold", ("Nchan",), 1.1),
    _storm("the same, both authenticated", "2000 clients, cold", TOKENS, 0.333),
    _storm("the same, against Python's", "2000 clients, cold", SLOW_WITH_TOKENS, 0.1),
    _storm("storm of 2000, warm", "2000 clients, warm", ("Nchan",), 0.5),
    _storm("the same, live traffic", "2000 clients, warm, live traffic", TOKENS, None, "storms"),
    _storm("storm of 1000, cold", "1000 clients, cold", TOKENS, None, "storms"),
    _storm("the same, live traffic", "1000 clients, cold, live traffic", TOKENS, None, "storms"),
    _storm("storm of 5000, cold", "5000 clients, cold", TOKENS, None, "storms"),
    _storm("the same, live traffic", "5000 clients, cold, live traffic", TOKENS, None, "storms"),
    *(
        Row(
            f"memory of an idle connection, of {count}",
            "idle",
            f"{count} idle",
            "kib_per_connection",
            "KiB",
            more_is_better=False,
            against=("Nchan",),
            target=1.0,
        )
        for count in (1000, 5000)
    ),
    Row(
        "token streaming, p99 of added delay",
        "streaming",
        "200 runs of 50 deltas/s to 2 devices",
        "p99_ms",
        "ms",
        more_is_better=False,
    ),
    Row(
        "restore of 1 conversation, median",
        "restore",
        "1 conversation",
        "p50_ms",
        "ms",
        more_is_better=False,
    ),
    Row(
        "restore of 10 conversations, median",
        "restore",
        "10 conversations",
        "p50_ms",
        "ms",
        more_is_better=False,
    ),
)
