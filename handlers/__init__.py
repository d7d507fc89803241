"""The built-in messages, one file a family.

A handler is `async (Context, Message) -> Reply | None` under `@handler(Message)`. It imports only
what `gateway` offers; an operator's own modules (`GATEWAY_HANDLERS`) look the same.
"""
