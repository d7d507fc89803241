"""Whatever the network does, the application has each event once and in order, or a snapshot."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_client import Event, Options, Snapshot, State
from gateway_client.protocol.codec import Codec
from gateway_client.protocol.requests import ClientInfo, JoinConversation, SendMessage
from gateway_client.session.session import Session
from tests.client.model_gateway import ModelGateway

NAMES = ["c_1", "c_2"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["append"] * 5
            + ["deliver"] * 5
            + ["consume"] * 3
            + ["send", "send", "tick", "tick", "drop", "trim", "fail_over", "restart"]
            + ["change_epoch"] * 3
        ),
        st.sampled_from(NAMES),
    ),
    min_size=25,  # shorter ones rarely hold a fault and what it spoils
    max_size=80,
)


class Application:
    """A program with a client on a bad network; `text` is what it made of the events."""

    def __init__(self, gateway: ModelGateway, *, inbox_items: int) -> None:
        self.gateway = gateway
        self.now = 100.0
        self.text = dict.fromkeys(NAMES, "")
        self.sent: dict[str, list[str]] = {name: [] for name in NAMES}
        self.outcomes: list[Any] = []
        self._options = Options(inbox_items=inbox_items)
        self._at: dict[str, tuple[str, int]] = {}
        self.session = self._new_session()
        self._open()
        for name in NAMES:
            join = JoinConversation(conversation_id=name)
            self.session.exchange.ask(join, done=self.outcomes.append, now=self.now)
        self._bring_all()

    def _new_session(self) -> Session:
        return Session(
            codec=Codec("json"),
            client=ClientInfo(name="test", version="0"),
            options=self._options,
            random=Random(1),
        )

    def _open(self) -> None:
        self.session.link_opened(self.now)
        self.exchange()

    def do(self, step: str, name: str) -> None:
        """Let one thing happen."""
        actions = {
            "append": lambda: self.gateway.append(name),
            "deliver": self.deliver,
            "consume": self.consume,
            "send": lambda: self.send(name),
            "tick": lambda: self.tick(1.0),
            "drop": self.drop,
            "trim": lambda: self.gateway.trim(name),
            "fail_over": lambda: self.gateway.fail_over(name),
            "change_epoch": lambda: self.gateway.change_epoch(name),
            "restart": self.restart,
        }
        actions[step]()
        self.exchange()

    def send(self, name: str) -> None:
        """Say something."""
        message_id = f"{name}-{len(self.sent[name])}"
        self.sent[name].append(message_id)
        message = SendMessage(
            client_message_id=message_id, content=message_id, conversation_id=name
        )
        self.session.exchange.send(message, done=self.outcomes.append)

    def deliver(self) -> None:
        """Let one frame arrive, unless the client does not read."""
        if self.gateway.wire and self.session.wants_frames:
            frame = msgspec.json.encode(self.gateway.wire.popleft())
            self.session.receive(frame, self.now)
            if self.session.fault is not None:
                self.drop()

    def exchange(self) -> None:
        """Let what the client wrote arrive."""
        for frame in self.session.take_outgoing(self.now):
            self.gateway.receive(frame)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.session.tick(self.now)
        if self.session.fault is not None:
            self.drop()

    def drop(self) -> None:
        """Lose the link and make another."""
        self.gateway.drop()
        self.session.link_lost(1006, reason="", now=self.now)
        self._open()

    def restart(self) -> None:
        """End the program where it stands, and start it again with what it exported."""
        saved = self.session.export()
        self.gateway.drop()
        self.session = self._new_session()
        self.session.restore(saved)
        self._open()

    def consume(self) -> None:
        """Deal with one item; it must be the very next, or replace all."""
        match self.session.reader.hand_over():
            case Event() as event:
                first = event.from_offset or event.offset
                at = self._at.get(event.conversation_id)
                is_next = at is None or self.gateway.logs[event.conversation_id].follows(
                    at, (event.epoch, first)
                )
                assert is_next, f"{event} after {at}"
                self._at[event.conversation_id] = (event.epoch, event.offset)
                self.text[event.conversation_id] += event.data["delta"]
            case Snapshot() as snapshot:
                self._at[snapshot.conversation_id] = (snapshot.epoch, snapshot.offset)
                self.text[snapshot.conversation_id] = snapshot.messages[0].text

    def settle(self) -> None:
        """Let a good network bring everything that is due; a promise is overdue after 5 s."""
        self.gateway.is_faulty = False
        for _ in range(30):
            self._bring_all()
            self.tick(1.0)
        self._bring_all()

    def _bring_all(self) -> None:
        self.exchange()
        while self.gateway.wire or len(self.session.inbox):
            self.deliver()
            self.consume()
            self.exchange()


@settings(max_examples=150)
@given(steps=STEPS, seed=st.integers(0, 2**32), inbox_items=st.sampled_from([1, 3, 1000]))
def test_events_arrive_once_and_in_order(steps, seed, inbox_items):
    """Drops, repeats, gaps, merges, trims, failovers, restarts: the text ends up equal."""
    gateway = ModelGateway(NAMES, Random(seed))
    app = Application(gateway, inbox_items=inbox_items)
    for step, name in steps:
        app.do(step, name)
    for name in NAMES:
        gateway.append(name)  # what follows a lost event shows the loss
    app.settle()
    for name in NAMES:
        gateway.append(name)
    app.settle()
    assert app.session.status.state is State.LIVE
    for name in NAMES:
        assert app.text[name] == "".join(gateway.logs[name].entries)


@settings(max_examples=150)
@given(steps=STEPS, seed=st.integers(0, 2**32))
def test_messages_are_accepted_once_in_the_order_they_were_sent(steps, seed):
    """Drops, refusals for a moment and restarts change nothing about what was said."""
    gateway = ModelGateway(NAMES, Random(seed))
    app = Application(gateway, inbox_items=1000)
    for step, name in steps:
        app.do(step, name)
    app.settle()
    for name in NAMES:
        assert list(gateway.accepted[name]) == app.sent[name]
    assert not app.session.exchange.unacknowledged()
