"""Agents by name: built in, of the settings, of installed packages."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from gateway.agents.demo import demo
from gateway.errors import SettingError
from gateway.ids import is_identifier

if TYPE_CHECKING:
    from gateway.agents.agent import Agent
    from gateway.settings import Settings

ENTRY_POINTS = "session_gateway.agents"
SETTING = "GATEWAY_AGENTS"


class AgentRegistry:
    """The agents of a gateway or worker."""

    def __init__(self, agents: dict[str, Agent], default: str | None) -> None:
        self._agents = agents
        self.default = default

    @classmethod
    def load(cls, settings: Settings) -> AgentRegistry:
        """Find all agents; those of the settings win over installed ones, these over built-in ones.

        Raises:
            SettingError: one cannot be imported, or the default does not exist.
        """
        agents: dict[str, Agent] = {"demo": demo}
        if settings.openai_model is not None:
            agents["openai"] = _openai(settings)
        for point in entry_points(group=ENTRY_POINTS):
            agents[_checked(point.name)] = point.load()
        for entry in settings.agents:
            name, _, target = entry.partition("=")
            agents[_checked(name.strip())] = _load(target.strip())
        default = settings.default_agent or ("demo" if settings.dev else None)
        if default is not None and default not in agents:
            raise SettingError("GATEWAY_DEFAULT_AGENT", f"there is no agent {default!r}")
        return cls(agents, default)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all agents."""
        return tuple(self._agents)

    def __contains__(self, name: str) -> bool:
        return name in self._agents

    def get(self, name: str) -> Agent | None:
        """The agent of a name."""
        return self._agents.get(name)


def _openai(settings: Settings) -> Agent:
    try:
        from gateway.agents.openai import OpenAIAgent  # noqa: PLC0415  # it takes 2 s, and an extra
    except ImportError as exc:
        problem = f"needs a package: pip install 'session-gateway[openai]' ({exc})"
        raise SettingError("GATEWAY_OPENAI_MODEL", problem) from exc
    return OpenAIAgent.of(settings)


def _checked(name: str) -> str:
    if not is_identifier(name):
        raise SettingError(SETTING, f"{name!r} is no name: 1 to 64 letters, digits, '_' or '-'")
    return name


def _load(target: str) -> Agent:
    module_name, colon, attribute = target.partition(":")
    if not colon:
        raise SettingError(SETTING, f"{target!r}: write name=package.module:attribute")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, SyntaxError) as exc:
        raise SettingError(SETTING, f"{target} cannot be loaded: {exc}") from exc
    if not callable(found):
        raise SettingError(SETTING, f"{target} cannot be called")
    return cast("Agent", found)
