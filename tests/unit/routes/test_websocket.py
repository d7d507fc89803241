"""The WebSocket route: what it reads of a request."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from gateway.routes.credentials import parameters_of

WORDS = st.text(alphabet="ab%2+4=;.é", max_size=8)


@given(st.lists(st.tuples(WORDS, WORDS), max_size=4), st.sampled_from(["", "&", "token=last"]))
@example([("token", "a.b.c"), ("ticket", "")], "")
@example([("token", "a%2Eb"), ("%74oken", "a+b")], "&")
def test_parameters_are_read_as_starlette_reads_them(
    pairs: list[tuple[str, str]], more: str
) -> None:
    """Escaped or not, blank, or several of one name."""
    query = "&".join([*(f"{name}={value}" for name, value in pairs), more]).encode("latin-1")
    found, expected = parameters_of(query), QueryParams(query)
    assert {name: found.get(name) for name in expected if name} == {
        name: expected[name] for name in expected if name
    }
    assert {name for name in found if name} == {name for name in expected if name}
