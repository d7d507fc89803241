"""The examples in the documentation; tests run each of them."""
