"""Tests of the gateway: unit/ mirrors its modules, the other folders hold what it promises."""

import pytest

pytest.register_assert_rewrite("tests.support")  # so that its failures show what was compared
