"""JSON Schemas of agents: whether one can be used, and whether an answer fits it; no I/O.

Run as a program it does one such check: schema_checks.py starts it for what may take long.
It imports nothing of the gateway, so that it starts quickly.

Nothing is ever fetched: a `$ref` leads into the schema itself.
"""

from __future__ import annotations

import json
import re
import sys
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import jsonschema
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from referencing._core import Resolver

MAX_MEMORY_BYTES = 1 << 30  # of a check that runs as a program
# What takes time in proportion to the schema and to the answer, and needs nothing else.
PLAIN = frozenset(
    {
        *("$schema", "title", "description", "default", "examples", "format", "type", "enum"),
        *("const", "properties", "required", "items", "additionalProperties", "minimum"),
        *("maximum", "minLength", "maxLength", "minItems", "maxItems", "anyOf", "oneOf", "allOf"),
    }
)
_NO_PATTERN = "has a pattern that is no regular expression"
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_OF_SAME_VALUE = ("not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas")


def schema_fault(schema: dict[str, Any]) -> str | None:
    """Tell why a schema cannot be used: words that go on after "what it wants of the answer"."""
    kind = _validator_of(schema)
    try:
        kind.check_schema(schema)
        specification = specification_with(str(kind.META_SCHEMA["$schema"]))
        _check_parts(specification.create_resource(schema))
    except jsonschema.SchemaError as exc:
        return _NO_PATTERN if exc.validator_value == "regex" else "is no JSON Schema"
    except Unresolvable:
        return "has a $ref that leads nowhere in it; nothing is fetched"
    except (re.error, OverflowError):
        return _NO_PATTERN
    except CycleError:
        return "has a $ref to itself that never ends"
    except RecursionError:
        return "is nested too deeply"
    return None


def misfit(schema: dict[str, Any], answer: object) -> list[str | int] | None:
    """Tell the place in an answer that does not fit; None if all of it fits."""
    validator = _validator_of(schema)(schema, registry=Registry())
    error = next(validator.iter_errors(answer), None)
    return None if error is None else list(error.absolute_path)


def is_plain(schema: object) -> bool:
    """Whether a schema's parts are all `PLAIN`: no patterns, no references, no comparing of items.

    Properties may have any name.
    """
    if not isinstance(schema, dict):
        return isinstance(schema, bool)
    properties = schema.get("properties", {})
    parts = [schema[name] for name in ("items", "additionalProperties") if name in schema]
    for name in ("anyOf", "oneOf", "allOf"):
        several = schema.get(name, [])
        parts += several if isinstance(several, list) else [several]
    parts += properties.values() if isinstance(properties, dict) else [properties]
    return schema.keys() <= PLAIN and all(map(is_plain, parts))


def _validator_of(schema: dict[str, Any]) -> Any:  # a class the library makes
    named = schema.get("$schema")
    newest = jsonschema.Draft202012Validator
    if not isinstance(named, str):
        return newest
    return jsonschema.validators.validator_for({"$schema": named}, default=newest)


def _check_parts(root: Resource[Any]) -> None:
    """Look at every part, and at what its references lead to.

    Raises:
        Unresolvable, re.error, CycleError: see `schema_fault`.
    """
    leads_to: dict[int, set[int]] = {}  # parts and those that look at the same value of an answer
    todo = [(root, Registry().resolver_with_root(root))]
    while todo:
        part, resolver = todo.pop()
        contents = part.contents
        if not isinstance(contents, dict) or id(contents) in leads_to:
            continue
        _compile_patterns(contents)
        found = list(_referred(contents, resolver))
        same = [*_of_same_value(contents), *(one.contents for one, _ in found)]
        leads_to[id(contents)] = {id(one) for one in same if isinstance(one, dict)}
        todo += ((one, resolver.in_subresource(one)) for one in part.subresources())
        todo += found
    TopologicalSorter(leads_to).prepare()


def _compile_patterns(contents: dict[str, Any]) -> None:
    named = contents.get("patternProperties")
    for pattern in (contents.get("pattern"), *(named if isinstance(named, dict) else ())):
        if isinstance(pattern, str):
            re.compile(pattern)


def _referred(
    contents: dict[str, Any], resolver: Resolver[Any]
) -> Iterator[tuple[Resource[Any], Resolver[Any]]]:
    for name in _REFERENCES:
        if isinstance(reference := contents.get(name), str):
            found = resolver.lookup(reference)
            default = specification_with("https://json-schema.org/draft/2020-12/schema")
            yield Resource.from_contents(found.contents, default), found.resolver


def _of_same_value(contents: dict[str, Any]) -> Iterator[object]:
    for name in _OF_SAME_VALUE:
        part = contents.get(name)
        if name == "dependentSchemas" and isinstance(part, dict):
            yield from part.values()
        elif isinstance(part, list):
            yield from part
        else:
            yield part


def _limit_resources(limit_s: int) -> None:
    """Die of too much, also if the gateway that asked is gone."""
    try:
        import os  # noqa: PLC0415  # where the gateway imports this it limits nothing
        import resource  # noqa: PLC0415  # Unix alone has it

        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
        os.nice(10)  # whoever is connected comes first
    except (ImportError, OSError, ValueError):
        return  # the gateway's own time limit holds everywhere


def main() -> None:
    """Do the check that comes in as `[limit_s, schema]` or `[limit_s, schema, answer]`."""
    limit_s, schema, *answer = json.load(sys.stdin.buffer)
    _limit_resources(limit_s)
    found = misfit(schema, answer[0]) if answer else schema_fault(schema)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
