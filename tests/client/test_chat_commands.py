"""What a user of `gateway chat` types in the first minutes, and what it says when it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.models.test import TestModel

from gateway.agents.pydantic_ai import PydanticAgent
from tests.support import own_agents
from tests.support.terminals import terminals
from tests.support.tokens import forged, mint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import InProcess, OwnGateway, Replicas


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator:
    """Open chats."""
    with terminals(tmp_path) as open_terminal:
        yield open_terminal


def asking_agent(done: list[str]) -> PydanticAgent:
    """Return an agent whose tool wants approval."""
    agent = Agent(TestModel(), output_type=[str, DeferredToolRequests], name="tested")

    @agent.tool_plain(requires_approval=True)
    def delete(name: str) -> str:
        done.append(name)
        return "gone"

    return PydanticAgent(agent)


@pytest.mark.parametrize(
    ("answers", "is_done"),
    [
        (["yes"], True),
        (["no, it is needed"], False),
        (['{"approved": true}'], True),
        (["perhaps", '{"approve": true}', "yes"], True),
    ],
    ids=["yes", "no", "json", "refused first"],
)
async def test_approval_of_a_tool_is_given_in_a_word(
    in_process: InProcess, terminal, tenant: str, answers: list[str], *, is_done: bool
) -> None:
    """Yes, no with a reason, or JSON. What does not fit is told, and the question stays."""
    done: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_agents, "agent", asking_agent(done))
        gateway = await in_process(**own_agents.SETTINGS)
    alice = terminal(gateway, mint("alice", tenant=tenant))
    alice.type("delete it")
    await alice.sees("(/answer yes, or /answer no)")
    for number, answer in enumerate(answers, 1):
        alice.type(f"/answer {answer}")
        if number < len(answers):
            await alice.sees("that is not a valid answer; answer yes or no", times=number)
    await alice.sees("own (agent): " if not is_done else "got gone")
    assert done == ["a"] * is_done


async def test_question_that_waits_is_shown_at_the_start(
    own_gateway: OwnGateway, terminal, tenant: str
) -> None:
    """Who comes later sees it, and answers it; JSON is taken as what it says."""
    gateway = await own_gateway(default_agent="demo")
    alice = terminal(gateway, mint("alice", tenant=tenant))
    alice.type("/approve Shall I?")
    await alice.sees("the agent asks: Shall I?")
    bob = terminal(gateway, mint("bob", tenant=tenant))
    await bob.sees("the agent asks: Shall I?   (/answer TEXT)")
    bob.type('/answer {"really": true}')
    await alice.sees('The answer is {"really": true}, so I go on.')
    bob.type("/answer once more")
    await bob.sees("no question is open")


async def test_answer_of_somebody_else_is_told(
    own_gateway: OwnGateway, terminal, tenant: str
) -> None:
    """And the question waits no more."""
    gateway = await own_gateway(default_agent="demo")
    alice = terminal(gateway, mint("alice", tenant=tenant))
    bob = terminal(gateway, mint("bob", tenant=tenant))
    await bob.sees("● live")
    alice.type("/approve Shall I?")
    await alice.sees("the agent asks")
    await bob.sees("the agent asks")
    alice.type("/answer yes")
    await bob.sees('The answer is "yes"')
    bob.type("/answer no")
    await bob.sees("somebody else has already answered")
    bob.type("/answer no")
    await bob.sees("no question is open")


async def test_reply_is_cancelled_from_the_terminal(
    own_gateway: OwnGateway, terminal, tenant: str
) -> None:
    """/cancel stops what goes on; the text so far stays and is marked."""
    gateway = await own_gateway(default_agent="demo")
    alice = terminal(gateway, mint("alice", tenant=tenant))
    alice.type("/cancel")
    await alice.sees("the agent is not working on anything")
    alice.type("/count 10000 50")
    await alice.sees("3 4 5")
    alice.type("/cancel")
    await alice.sees("(cancelled)")


async def test_agent_is_chosen_from_the_terminal(
    own_gateway: OwnGateway, terminal, tenant: str
) -> None:
    """/agent NAME; an unknown one is told by the gateway; `none` leaves people to themselves."""
    gateway = await own_gateway()
    alice = terminal(gateway, mint("alice", tenant=tenant))
    alice.type("/agent demo")
    await alice.sees("* demo replies to you")
    alice.type("parrot")
    await alice.sees("demo (agent): parrot")
    alice.type("/agent nobody")
    alice.type("hello?")
    await alice.sees("! ")
    alice.type("/agent none")
    alice.type("among ourselves")
    await alice.sees("alice (you): among ourselves")
    assert "demo (agent): among ourselves" not in alice.screen


async def test_author_is_the_same_in_history_and_live(
    own_gateway: OwnGateway, terminal, tenant: str
) -> None:
    """Who joins in the middle of a reply sees all of it, under the name that history gives it."""
    gateway = await own_gateway(default_agent="demo")
    alice = terminal(gateway, mint("alice", tenant=tenant))
    alice.type("/count 60 40")
    await alice.sees("8 9 10")
    late = terminal(gateway, mint("bob", tenant=tenant))
    await late.sees(" 59 60")
    after = terminal(gateway, mint("carol", tenant=tenant))
    await after.sees(" 59 60")
    whole = "demo (agent): " + " ".join(str(n + 1) for n in range(60))
    assert whole in late.screen
    assert whole in after.screen
    assert "\ndemo (agent): 1 2 3" in alice.screen


async def test_greeting_says_who_one_is_and_what_one_can_do(
    replicas: Replicas, terminal, tenant: str
) -> None:
    """Once, before anything else that is said."""
    alice = terminal(replicas[0], mint("alice", tenant=tenant))
    await alice.sees(
        "* You are alice, in lobby. Type a message and press Enter; /help for more, /quit"
    )


@pytest.mark.parametrize("form", ["http://{}", "http://{}/", "{}", "ws://{}"])
async def test_address_of_the_gateway_will_do(
    replicas: Replicas, terminal, tenant: str, form: str
) -> None:
    """As it is printed by `gateway serve`, or shorter."""
    where = form.format(f"127.0.0.1:{replicas[0].port}")
    alice = terminal(replicas[0], mint("alice", tenant=tenant), "--url", where)
    await alice.sees("● live")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:{}/socket", "try --url ws://127.0.0.1:{}/ws"),
        ("ftp://127.0.0.1:{}", "--url must look like http://HOST:PORT"),
        ("http://", "--url must look like http://HOST:PORT"),
    ],
)
async def test_wrong_address_is_told_in_one_line(
    replicas: Replicas, terminal, tenant: str, url: str, told: str
) -> None:
    """With what to do; and it ends."""
    port = replicas[0].port
    alice = terminal(replicas[0], mint("alice", tenant=tenant), "--url", url.format(port))
    assert await alice.ended() in {1, 2}
    last = alice.screen.splitlines()[-1]
    assert last.startswith("gateway chat: ")
    assert told.format(port) in last
    assert "Traceback" not in alice.screen


async def test_wrong_token_is_told_in_one_line(replicas: Replicas, terminal) -> None:
    """With what to do."""
    alice = terminal(replicas[0], forged("alice"))
    assert await alice.ended() == 1
    last = alice.screen.splitlines()[-1]
    assert last.startswith("gateway chat: the gateway does not accept the token: ")
    assert "--token" in last


async def test_gateway_that_is_not_there_yet_is_waited_for(
    own_gateway: OwnGateway, terminal, tenant: str
) -> None:
    """It says so once, and what may be missing."""
    gateway = await own_gateway()
    await gateway.kill()
    alice = terminal(gateway, mint("alice", tenant=tenant))
    await alice.sees(f"* no server listens at 127.0.0.1:{gateway.port}; trying again.")
    await gateway.start()
    await alice.sees("● live")
    assert alice.screen.count("no server listens") == 1


async def test_what_was_not_acknowledged_is_told_by_the_exit_status(
    own_gateway: OwnGateway, terminal, tenant: str
) -> None:
    """1, after some seconds, with a line that says how many."""
    gateway = await own_gateway()
    alice = terminal(gateway, mint("alice", tenant=tenant))
    await alice.sees("● live")
    await gateway.kill()
    alice.type("into the void")
    alice.process.stdin.close()
    await alice.sees("! 1 not acknowledged", within_s=60)
    assert await alice.ended() == 1


async def test_terminal_that_has_ascii_only_is_enough(
    own_gateway: OwnGateway, terminal, tenant: str
) -> None:
    """Signs have others in their place; what it cannot show does not end the chat."""
    gateway = await own_gateway(default_agent="demo")
    alice = terminal(gateway, mint("alice", tenant=tenant), encoding="ascii")
    await alice.sees("* live")
    alice.type("/who")
    await alice.sees("* alice (owner)")
    alice.type("grüß dich …")
    await alice.sees("demo (agent): gr?? dich ...")
