"""Agents by name: built in, of the settings, of installed packages."""

from __future__ import annotations

import functools
import importlib
import inspect
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from gateway.agents.demo import demo
from gateway.errors import SettingError
from gateway.protocol.ids import is_identifier

if TYPE_CHECKING:
    from collections.abc import Callable

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
            SettingError: one cannot be imported or cannot be an agent, or the default does not
                exist.
        """
        agents: dict[str, Agent] = {"demo": demo}
        if settings.openai_model is not None:
            agents["openai"] = _openai(settings)
        for point in entry_points(group=ENTRY_POINTS):
            agents[_checked(point.name)] = speaking(point.name, point.load())
        for entry in settings.agents:
            name, target = _parts(entry)
            agents[name] = _load(name, target)
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


def _parts(entry: str) -> tuple[str, str]:
    """Split `name=package.module:attribute`."""
    name, _, target = (part.strip() for part in entry.partition("="))
    module, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise SettingError(SETTING, f"{entry!r}: write name=package.module:attribute")
    return _checked(name), target


def _checked(name: str) -> str:
    if not is_identifier(name):
        raise SettingError(
            SETTING, f"{name!r} is not a valid name: 1 to 64 letters, digits, '_' or '-'"
        )
    return name


def _load(name: str, target: str) -> Agent:
    module_name, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, SyntaxError) as exc:
        raise SettingError(SETTING, f"{target} cannot be loaded: {exc}") from exc
    return speaking(name, found)


def speaking(name: str, found: object) -> Agent:
    """What was loaded under a name, if it can be an agent.

    Raises:
        SettingError: it returns where an agent yields, or cannot be called with a `RunContext`. A
            plain function may return an async iterator: that is seen when it runs.
    """
    problem = _problem(found)
    if problem is not None:
        raise SettingError(SETTING, f"the agent {name!r} {problem}; write `async def` and `yield`")
    return cast("Agent", found)


def _problem(found: Any) -> str | None:  # whatever stands under that name
    if not callable(found):
        return "cannot be called"
    if inspect.isclass(found):
        is_iterator = hasattr(found, "__aiter__")
        return None if is_iterator else "is a class: name an instance of it"
    function: Any = found
    while isinstance(function, functools.partial):
        function = function.func
    for one in (function, getattr(function, "__call__", None)):  # noqa: B004 -- looked at, not called
        if inspect.iscoroutinefunction(one):
            return "is a coroutine: it returns a value where an agent yields"
        if inspect.isgeneratorfunction(one):
            return "is a generator that is not async"
    return _signature_problem(found)


def _signature_problem(found: Callable[..., Any]) -> str | None:
    try:
        inspect.signature(found).bind(None)
    except TypeError as exc:
        return f"cannot be called with a RunContext alone: {exc}"
    except ValueError:  # it has no signature
        return None
    return None
