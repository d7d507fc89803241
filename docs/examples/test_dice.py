"""A test of the agent of dice.py, with pytest-asyncio; docs/how-to/write-an-agent.md."""

import pytest
from dice import dice

from gateway.agents import AgentError
from gateway.testing import ask


async def test_three_dice_are_thrown_and_summed() -> None:
    """The reply shows the sum, and the agent remembers the best."""
    reply = await ask(dice, "3")
    *fallen, total = reply.text.replace("=", "").split()
    assert sum(map(int, fallen)) == int(total) == reply.memory["best"]


async def test_words_are_no_number() -> None:
    """The agent says what it expects."""
    with pytest.raises(AgentError, match="How many dice"):
        await ask(dice, "many")
