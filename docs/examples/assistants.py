"""Two assistants that use a language model and a tool; docs/how-to/write-an-agent.md.

GATEWAY_AGENTS=shop=assistants:shop,clerk=assistants:clerk, with this folder on PYTHONPATH.
"""

from pydantic_ai import Agent

from gateway.agents import AgentError
from gateway.agents.openai import OpenAIAgent
from gateway.agents.pydantic_ai import PydanticAgent

PRICES = {"apple": 0.4, "pear": 0.6}


async def price(article: str) -> float:
    """Tell what an article costs, in euros."""
    if article not in PRICES:
        raise AgentError(f"there is no {article}")
    return PRICES[article]


shop = OpenAIAgent(model="qwen3", base_url="http://127.0.0.1:11434/v1", tools=[price])
clerk = PydanticAgent(Agent("openai:gpt-5.2", name="clerk", tools=[price], defer_model_check=True))
