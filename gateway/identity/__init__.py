"""A token becomes who asks: tokens, the keys that check them, the verifier."""
