"""Agents of an operator's own: the examples of the documentation, over real sockets.

They are loaded as the page says: their folder on the path, their names in GATEWAY_AGENTS.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.agents import AgentRegistry
from gateway.agents.agent import takeover_of
from gateway.agents.demo import demo
from gateway.errors import SettingError
from gateway.settings import load_settings
from tests.promises.runs.person import Person

if TYPE_CHECKING:
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "how-to" / "write-an-agent.md").read_text(encoding="utf-8")
ASSISTANTS = ("shop=assistants:shop", "clerk=assistants:clerk")


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONPATH=docs/examples."""
    monkeypatch.syspath_prepend(DOCS / "examples")


@pytest.mark.parametrize("name", ["dice", "assistants"])
def test_page_shows_the_example_as_it_is(name):
    """The page's listing is the file that is tested."""
    listing = (DOCS / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert f"```python\n{listing}```\n" in PAGE


def test_own_agent_is_short():
    """What is shown as simple is: imports and docstrings left out, some twenty lines."""
    listing = (DOCS / "examples" / "dice.py").read_text(encoding="utf-8").partition('"""\n\n')[2]
    lines = [one for one in listing.splitlines() if one.strip() and "import" not in one]
    assert len(lines) <= 20


async def test_own_agent_answers_and_remembers(in_process: InProcess, dial: Dialler) -> None:
    """Three dice are told, summed up, and the best sum is in the memory of the conversation."""
    gateway = await in_process(agents=("dice=dice:dice",), default_agent="dice")
    person = await Person.at(dial, gateway)
    run = await person.sees_end(await person.ask("3"))
    *fallen, total = map(int, re.findall(r"\d+", run.text))
    assert (len(fallen), sum(fallen)) == (3, total)
    assert (await person.context())["memory"] == {"best": total}


async def test_own_agent_refuses(in_process: InProcess, dial: Dialler) -> None:
    """What it cannot do ends the run with its own words and code."""
    gateway = await in_process(agents=("dice=dice:dice",), default_agent="dice")
    person = await Person.at(dial, gateway)
    run = await person.sees_end(await person.ask("many"))
    assert (run.ends[0]["code"], run.ends[0]["message"]) == (
        "not_a_number",
        "How many dice, 1 to 100?",
    )


def test_assistants_take_over_as_the_page_says():
    """Both are found by their names; one begins anew, the other goes on."""
    registry = AgentRegistry.load(load_settings({}, agents=ASSISTANTS))
    policies = {name: takeover_of(registry.get(name)) for name in ("shop", "clerk")}
    assert policies == {"shop": "restart", "clerk": "resume"}


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("no name=dice:dice", "is not a valid name"),
        ("foo", "'foo': write name=package.module:attribute"),
        ("dice=dice", "'dice=dice': write name=package.module:attribute"),
        ("dice=:dice", "'dice=:dice': write name=package.module:attribute"),
        ("dice=.dice:dice", "write name=package.module:attribute"),
        ("dice=dice:", "write name=package.module:attribute"),
        ("dice=nothing_here:dice", "cannot be loaded"),
        ("dice=dice:nothing", "cannot be loaded"),
        ("dice=dice:__doc__", "cannot be called"),
    ],
    ids=[
        "name",
        "word",
        "form",
        "no module",
        "relative",
        "no attribute",
        "module",
        "attribute",
        "callable",
    ],
)
def test_agent_that_cannot_be_loaded_ends_the_start(setting, problem):
    """It is named, with what is wrong."""
    with pytest.raises(SettingError, match=problem) as raised:
        AgentRegistry.load(load_settings({}, agents=(setting,)))
    assert raised.value.name == "GATEWAY_AGENTS"


def test_default_agent_must_exist():
    """A default that is not there would leave every message without an answer."""
    with pytest.raises(SettingError, match="there is no agent 'nobody'"):
        AgentRegistry.load(load_settings({}, default_agent="nobody"))


def test_agent_openai_is_there_when_its_model_is_set():
    """GATEWAY_OPENAI_MODEL makes the agent; nothing is asked yet."""
    assert "openai" not in AgentRegistry.load(load_settings({}))
    assert "openai" in AgentRegistry.load(load_settings({}, openai_model="m"))


def test_missing_package_of_a_model_is_named(monkeypatch: pytest.MonkeyPatch):
    """Without the extra, the start ends with what to install."""
    monkeypatch.setitem(sys.modules, "gateway.agents.openai", None)
    with pytest.raises(SettingError, match=r"session-gateway\[openai\]"):
        AgentRegistry.load(load_settings({}, openai_model="m"))


def test_installed_package_offers_agents_by_its_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`session_gateway.agents`: the name is the agent's; a setting of the same name wins."""
    (tmp_path / "an_installed_agent.py").write_text("async def reply(context):\n    yield 'hi'\n")
    package = tmp_path / "an_installed_agent-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: an-installed-agent\n")
    (package / "entry_points.txt").write_text(
        "[session_gateway.agents]\npolite = an_installed_agent:reply\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = AgentRegistry.load(load_settings({})).get("polite")
    assert found is not None
    assert (found.__module__, found.__name__) == ("an_installed_agent", "reply")
    mine = {"GATEWAY_AGENTS": "polite=gateway.agents.demo:demo"}
    assert AgentRegistry.load(load_settings(mine)).get("polite") is demo
