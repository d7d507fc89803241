"""`gateway chat`: a conversation in a terminal, on the Python client.

The wheel carries a copy of the client for it, under a path of its own: `gateway_client` itself is
what the package gateway-client installs, of whatever version.
"""

import sys
from pathlib import Path

_BUNDLED = Path(__file__).parent / "bundled"  # not in the repository, which has the client itself

if _BUNDLED.is_dir():
    sys.path.insert(0, str(_BUNDLED))
