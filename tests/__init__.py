"""Tests of the gateway. `tests/test_x.py` mirrors a module; resilience/ and conformance/ do not."""
