"""The typed configuration: the one source of defaults, checks, JSON schema and key documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from dcsc.errors import UserError, nearest, shortened, shown
from dcsc.study import checks
from dcsc.study.options.study import Study
from dcsc.study.options.types import Options, models_in

LONGEST, MOST_ENTRIES, DEEPEST = 2**18, 50_000, 32
"""Bytes, entries and levels of a configuration, far beyond any study."""


def load(path: str | Path) -> Study:
    """
    Read and check a configuration file.

    Parameters
    ----------
    path : str or Path
        A YAML file.

    Returns
    -------
    Study
        With all defaults filled in.

    Raises
    ------
    UserError
        When the file cannot be read or the configuration is wrong.
    """
    return validate(read(path))


def read(path: str | Path) -> Any:
    """
    Read a configuration file, without checking what it says.

    Parameters
    ----------
    path : str or Path
        A YAML file.

    Returns
    -------
    object
        What it holds.

    Raises
    ------
    UserError
        When it cannot be read, is no YAML or nested too deeply, or gives a key twice.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"configuration {path} cannot be read ({reason}): check the path.") from None
    if len(text) > LONGEST:
        raise UserError(f"configuration {path} is longer than {LONGEST} bytes: name a configuration.")
    try:
        return _Loader(text.decode("utf-8")).get_single_data()
    except UserError as error:
        raise UserError(f"configuration {path}: {error}") from None
    except Exception as error:  # beside YAMLError, a date or a number that is none raises ValueError
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise UserError(f"configuration {path} is not valid YAML{line}: correct the file.") from None


def check_files(paths: Sequence[str | Path]) -> None:
    """
    Check the files that a command line names as configuration, before a workflow manager merges and reads them.

    Parameters
    ----------
    paths : sequence of str or Path
        The files.

    Raises
    ------
    UserError
        When there is more than one, or one that `read` refuses.
    """
    if len(paths) > 1:
        raise UserError(
            f"{len(paths)} configuration files are named, {' and '.join(shown(str(path)) for path in paths[:3])}, but "
            "a configuration is complete by itself and nothing is merged: name one (what is to be made goes before "
            "--configfile)."
        )
    for path in paths:
        if Path(path).is_fifo():
            raise UserError(f"configuration {path} is a pipe, which can be read but once: name a file.")
        read(path)


def validate(content: Any) -> Study:
    """
    Check a configuration, fill in the defaults, and build each cascade once to see that it fits together.

    Parameters
    ----------
    content : mapping
        What was read from YAML.

    Returns
    -------
    Study
        The validated configuration.

    Raises
    ------
    UserError
        With one sentence that names the key, the value and what is allowed.
    """
    _check_mapping(content)
    _load_plugins(content.get("plugins"))
    study = _validated(content, Study)
    checks.check_jobs(study)
    checks.check_palette(study)
    checks.check_claims(study)
    checks.check_cascades(study)
    checks.check_samplers(study)
    return study


Section = TypeVar("Section", bound=Options)


def typed(content: Any, model: type[Section]) -> Section:
    """
    Check a configuration of another kind than a study, and fill in the defaults.

    Parameters
    ----------
    content : mapping
        What was read from YAML.
    model : type of Options
        What it must be.

    Returns
    -------
    Options
        The validated configuration.

    Raises
    ------
    UserError
        With one sentence that names the key, the value and what is allowed.
    """
    _check_mapping(content)
    return _validated(content, model)


def _check_mapping(content: Any) -> None:
    if not isinstance(content, Mapping):
        raise UserError("the configuration is not a mapping of keys: see config/README.md.")
    _check_extent(content)


def _validated(content: Any, model: type[Section]) -> Section:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(_sentence(_most_telling(error.errors(), content), content, model)) from None


def _load_plugins(paths: Any) -> None:
    """Load what brings names to a configuration before these are looked up; other content is refused later."""
    if isinstance(paths, list) and all(isinstance(path, str) for path in paths) and len(set(paths)) == len(paths):
        from dcsc import stages

        stages.load_plugins(path.strip() for path in paths)


class _Loader(yaml.SafeLoader):
    """YAML's own reader, but for what it takes in silence: a key that stands twice, and any depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST + 1:  # a scalar at the deepest level
            raise UserError(_TOO_LARGE)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            is_merge = key.tag == "tag:yaml.org,2002:merge"
            name, line = key.value if is_merge else self.construct_object(key), key.start_mark.line + 1
            if name in lines:
                raise UserError(
                    f"the key {shown(name)} stands twice, at lines {lines[name]} and {line}: remove or rename one."
                )
            lines[name] = line
        return node


_TOO_LARGE = "the configuration is nested too deeply or too large: see config/README.md."


def _check_extent(content: Any) -> None:
    """Refuse what is far larger than any study once YAML's anchors are spelt out, or holds itself."""
    waiting, entries = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        entries += 1
        if entries > MOST_ENTRIES or depth > DEEPEST:
            raise UserError(_TOO_LARGE)
        if isinstance(value, Mapping):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple | set):
            waiting += [(part, depth + 1) for part in value]


def _most_telling(errors: list[Any], content: Any) -> Mapping[str, Any]:
    """Choose among the findings about the first wrong key: of a union, the branch that the value was meant for."""
    first, place = errors[0], _key(errors[0], content)
    if isinstance(first["input"], Mapping | list):  # of its entries another branch may say more
        inside = [error for error in errors if _key(error, content)[: len(place)] == place]
        first = max(inside, key=lambda error: len(_key(error, content)))
        place = _key(first, content)
    same = [error for error in errors if _key(error, content) == place]
    if isinstance(first["input"], int | float):
        telling = ("finite", "greater", "less")
        return next((error for error in same if error["type"].startswith(telling)), first)
    return first


def _key(error: Mapping[str, Any], content: Any) -> list[Any]:
    """Follow a finding to its place in the content; what is not there are pydantic's names of union branches."""
    place, found = content, []
    for part in error["loc"]:
        in_list = isinstance(place, list) and isinstance(part, int) and part < len(place)
        if in_list or (isinstance(place, Mapping) and part in place):
            place = place[part]
        elif error["type"] != "missing" or part != error["loc"][-1]:
            continue
        found.append(part)
    return found or list(error["loc"][:1])


def _sentence(error: Mapping[str, Any], content: Any, model: type[Options]) -> str:
    """Say one of pydantic's findings in a sentence with the key, the value and the remedy."""
    location = _key(error, content)
    key = shortened(".".join(str(part) for part in location))
    context = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        return f"unknown key {key}: {nearest(str(location[-1]), _keys_at(location[:-1], model))}"
    if error["type"] == "missing":
        return f"missing key {key}: add it, see config/README.md."
    value = shown(error["input"])
    if error["type"] == "value_error":
        message = str(context["error"])
        if isinstance(error["input"], bool):
            return f"{key} = {value} is not allowed: {message}."
        return f"{key}: {message}" if key else message
    if error["type"] == "string_pattern_mismatch":
        allowed = "small letters, digits, dots and hyphens, at most 40 characters"
        if key == "results":
            allowed = "a relative path of letters, digits, dots, hyphens and underscores"
        return f"{key} = {value} is not allowed: use {allowed}."
    return f"{key} = {value} is not allowed: {error['msg'][0].lower()}{error['msg'][1:]}."


def _keys_at(location: list[Any], model: type[Options]) -> list[str]:
    """List the valid keys of the part of the configuration at a location."""
    for part in location:
        if part in model.model_fields:
            model = next(models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)
