"""The connection's own messages: ping, refresh_token, ack."""

from __future__ import annotations

from gateway import Context, errors, handler
from gateway.protocol.messages import Ack, Ping, Pong, RefreshToken, TokenRefreshed


@handler(Ping)
async def ping(context: Context, message: Ping) -> Pong:
    """Give a sign of life."""
    del context, message
    return Pong()


@handler(RefreshToken)
async def refresh_token(context: Context, message: RefreshToken) -> TokenRefreshed:
    """Go on with a new credential of the same subject and tenant."""
    try:
        identity = await context.connection.refresh(message.token)
    except errors.EarlyToken as exc:
        raise errors.NotNow(f"$.token: {exc}", retry_after_ms=exc.retry_after_ms) from exc
    except errors.InvalidToken as exc:
        raise errors.Forbidden(f"$.token: {exc.reason}") from exc
    return TokenRefreshed(expires_at=identity.expires_at)


@handler(Ack)
async def ack(context: Context, message: Ack) -> None:
    """Remember what the application has consumed."""
    await context.session.ack(message.cursors)
