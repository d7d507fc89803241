"""How many inputs a property is tried with: few in the suite, more where they were asked for."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = "FUZZ_EXAMPLES"
IN_THE_SUITE = 20

# Without a deadline: a busy machine is no failure. Large inputs are wanted here.
fuzz = settings(
    max_examples=int(os.environ.get(EXAMPLES, IN_THE_SUITE)),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
