"""The JSON schema and the table of keys, written from the typed configuration."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import yaml

from dcsc.study.options.study import Study
from dcsc.study.options.types import Options, models_in


def json_schema() -> str:
    """
    Write the JSON schema of the configuration as YAML, for editors and the workflow catalog.

    Returns
    -------
    str
        The text of workflow/schemas/config.schema.yaml.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}
    schema = json.loads(json.dumps(schema).replace("\\n", " "))  # the docstrings that describe the keys are wrapped
    return yaml.safe_dump(schema, sort_keys=False, width=110, allow_unicode=True)


def key_table() -> str:
    """
    Write the table of all keys for config/README.md.

    Returns
    -------
    str
        Markdown: key, type, default, meaning.
    """
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    rows += [f"| `{key}` | {kind} | {default} | {meaning} |" for key, kind, default, meaning in _rows(Study, "")]
    return "\n".join(rows) + "\n"


def _rows(model: type[Options], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        key = prefix + name
        inner = next(models_in(field.annotation), None)
        if field.is_required():
            default = "required"
        elif isinstance(field.default, Options):
            default = "the defaults below"
        else:
            default = f"`{_yaml(_plain(field.default))}`"
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield key, _type_name(field.annotation), default, meaning
        if inner is not None:
            container = typing.get_origin(field.annotation)
            suffix = ".<name>." if container is dict else "[]." if container is list else "."
            yield from _rows(inner, key + suffix)


def _plain(value: Any) -> Any:
    """Turn the parts of a default into what YAML writes."""
    if isinstance(value, Options):
        return value.model_dump(exclude_none=True)
    return {key: _plain(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _type_name(annotation: Any) -> str:
    """Name a type as a person would."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)} entries, each {_type_name(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {_type_name(arguments[1])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_name(argument) for argument in arguments))
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return "mapping"
    return {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", type(None): "nothing"}[
        annotation
    ]
