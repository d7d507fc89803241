"""Tests of the gateway. `tests/test_x.py` mirrors a module; resilience/ and conformance/ do not."""

import pytest

pytest.register_assert_rewrite("tests.support")  # so that its failures show what was compared
