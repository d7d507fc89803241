"""The rules of the log, as far as the model can change them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, eq=False)
class Rules:
    """How the log behaves. As they stand here they are the ones that hold; see `OLD` for others."""

    name: str = "new"
    why: str = "the rules that hold"

    # Epochs
    by_heard: bool = False  # what a replica has heard decides, packed once; not reigns
    packed_once: bool = False  # a stamp is put in when a call is made, not at each try
    is_bounded: bool = True  # a script that finds a stamp too old asks its server itself
    named_by_reign: bool = True  # else an epoch is named by its number only
    records_forks: bool = True  # a closed epoch is kept with its end
    end_shift: int = 0  # what is added to the end that is kept
    # Readers and topics
    by_offset_only: bool = False  # a cursor is judged by its offset, whatever its epoch
    rejudges: bool = True  # readers read the log when a topic hears another epoch
    compares_epochs: bool = True  # a comparison looks at epochs, not only at offsets
    heeds_less: bool = True  # a comparison that finds less than was heard: snapshots
    asks_before: bool = True  # ... than was heard when it was asked, not when it is answered
    counts_readers: bool = True  # ... by the topic or by any reader of it
    tells_readers: bool = True  # ... and the readers beyond get snapshots, they do not just wait
    leaves_replicas: bool = True  # a read is never answered by a replica
    # Calls
    is_idempotent: bool = True  # a repeated message is known by its id
    waits: bool = True  # under `replicated`, an answer waits for WAIT
    writes_when_known: bool = True  # a repeated message is written to, so that WAIT covers it

    @property
    def are_stamps_of_interest(self) -> bool:
        """Whether a script may be told another reign than that of the server it runs on."""
        return self.packed_once or not self.is_bounded


NEW = Rules()

OLD = Rules(
    name="old",
    why="the rules before reigns",
    by_heard=True,
    packed_once=True,
    heeds_less=False,
)


def _but(name: str, why: str, **changes: bool | int) -> Rules:
    return replace(NEW, name=name, why=why, **changes)


MUTATIONS = (
    _but("packed_once", "a retried call carries the stamp of its first try", packed_once=True),
    _but("no_second_look", "a link's stamp is trusted for ever", is_bounded=False),
    _but("end_too_low", "an epoch's end is kept one too low", end_shift=-1),
    _but("end_too_high", "an epoch's end is kept one too high", end_shift=1),
    _but("fork_unrecorded", "an epoch is closed without keeping its end", records_forks=False),
    _but("named_by_count", "epochs are named by their number only", named_by_reign=False),
    _but("by_offset_only", "a reader is judged by its offset only", by_offset_only=True),
    _but("not_rejudged", "a topic gives the next offset, whatever its epoch", rejudges=False),
    _but("compares_offsets", "a comparison looks at offsets only", compares_epochs=False),
    _but("ignores_less", "a comparison ignores less than was heard", heeds_less=False),
    _but("asks_after", "less than is heard when the answer comes", asks_before=False),
    _but("counts_topic_only", "less than the topic heard, whatever its readers read",
         counts_readers=False),
    _but("tells_nobody", "after less than was heard the topic restarts, and readers wait for it",
         tells_readers=False),
    _but("reads_at_replica", "a link that stayed open goes on reading at a server that was demoted",
         leaves_replicas=False),
    _but("not_idempotent", "a repeated message is appended again", is_idempotent=False),
    _but("answers_early", "a message is acknowledged before WAIT", waits=False),
    _but("known_not_written", "WAIT after a repeated message covers nothing (Redis 7.2, Valkey)",
         writes_when_known=False),
)  # fmt: skip
BY_NAME = {rules.name: rules for rules in (OLD, NEW, *MUTATIONS)}
