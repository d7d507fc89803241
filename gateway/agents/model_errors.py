"""What went wrong with a model, in words that everybody in a conversation may read.

A provider's own text is not passed on: it may quote the key, the prompt or an address. It is
logged by kind and status only.
"""

from __future__ import annotations

from gateway.agents.agent import AgentError

BAD_REQUEST, SERVER_ERROR = 400, 500  # RFC 9110 sections 15.5 and 15.6
_BY_STATUS = {
    401: ("model_unauthorized", "the model's provider does not accept the gateway's key"),
    403: ("model_unauthorized", "the model's provider does not let the gateway use this model"),
    404: ("model_not_found", "the model's provider does not know the model"),
    408: ("model_timeout", "the model's provider took too long"),
    413: ("model_rejected", "the conversation is too long for the model"),
    429: ("model_rate_limited", "the model's provider is asked too much; try again later"),
    504: ("model_timeout", "the model's provider took too long"),
}


def refused(status: int) -> AgentError:
    """The provider answered with an HTTP status that is no success."""
    if status in _BY_STATUS:
        code, message = _BY_STATUS[status]
        return AgentError(message, code=code)
    if BAD_REQUEST <= status < SERVER_ERROR:
        return AgentError("the model's provider rejected the request", code="model_rejected")
    return failed()


def failed() -> AgentError:
    """The provider failed, and did not say more."""
    return AgentError("the model's provider has failed", code="model_unavailable")


def timed_out() -> AgentError:
    """The provider said nothing for too long."""
    return AgentError("the model's provider took too long", code="model_timeout")


def unreachable() -> AgentError:
    """There was no connection to the provider."""
    return AgentError("the model's provider cannot be reached", code="model_unreachable")


def interrupted() -> AgentError:
    """The answer stopped before its end."""
    return AgentError("the model's answer was cut off", code="model_interrupted")


def nothing_to_answer() -> AgentError:
    """The message was deleted before its turn came."""
    return AgentError("the message to be answered was deleted", code="message_deleted")


def too_many_rounds(rounds: int) -> AgentError:
    """The model goes on calling tools."""
    return AgentError(
        f"the model called tools {rounds} times and did not answer", code="too_many_tool_calls"
    )
