"""The agent `openai`."""

from gateway.agents.openai.agent import OpenAIAgent

__all__ = ["OpenAIAgent"]
