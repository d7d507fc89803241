"""Agents of pydantic-ai."""

from gateway.agents.pydantic_ai.agent import PydanticAgent

__all__ = ["PydanticAgent"]
