"""uvicorn's protocols with limits: HTTP, and the fallback for WebSockets."""
