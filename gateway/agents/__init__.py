"""What runs may be: async generators of run events, found by name."""

from gateway.agents.agent import Agent, AgentError, Takeover, agent
from gateway.agents.registry import AgentRegistry
from gateway.agents.run_context import RunContext

__all__ = ["Agent", "AgentError", "AgentRegistry", "RunContext", "Takeover", "agent"]
