"""The base of every configuration value: frozen, validated, and clear about what was wrong."""

from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rnnlab.common.errors import UserError, nearest


class Options(BaseModel):
    """A frozen, validated value; unknown keys are refused with the nearest valid name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    kind = data.get("kind")
                    owner = f" of kind '{kind}'" if kind else ""
                    raise ValueError(f"there is no field '{key}'{owner}: {nearest(str(key), cls.model_fields)}")
            _refuse_booleans(cls, data)
        return data

    @classmethod
    def parse(cls, data: Any, source: str = "configuration") -> Self:
        """Validate plain data, turning the first mistake found into one sentence.

        Args:
            data: mappings, lists and scalars, as read from YAML.
            source: where the data came from, named in the message.

        Returns:
            The frozen value.

        Raises:
            UserError: if anything in `data` is unknown, of the wrong type or impossible.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise UserError(f"{source}: {_sentence(error, data)}") from None


def _refuse_booleans(cls: type[BaseModel], data: dict[str, Any]) -> None:
    """Refuse true and false where a number is wanted, which pydantic would read as 1 and 0."""
    for key, value in data.items():
        annotation = cls.model_fields[key].annotation
        if isinstance(value, bool) and annotation is not Any and bool not in (annotation, *get_args(annotation)):
            raise ValueError(f"{key} = {str(value).lower()} is not allowed: give it a value of another type")


def _sentence(error: ValidationError, data: Any) -> str:
    """Put the first problem of a validation error into one sentence."""
    first = error.errors(include_url=False)[0]
    # Inside a union, pydantic adds the type that it tried to the path. Such a part is no key of the data, and neither
    # is the name of a missing field, which stands last.
    path: list[str] = []
    value = data
    for depth, part in enumerate(first["loc"], start=1):
        names_missing = first["type"] == "missing" and depth == len(first["loc"])
        if isinstance(value, dict) and part not in value and not names_missing:
            continue
        path.append(str(part))
        value = value.get(part) if isinstance(value, dict) else value
    where = ".".join(path)
    named = f"{where} = " if where else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "unknown_kind":
        return f"{where} = {first['input']!r} is unknown: {message}"
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    if first["type"] == "missing":
        return f"{where} is missing: give it a value"
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"{named}{first['input']!r} is not allowed: give it a section of fields"
    if first["type"] == "too_short":
        least = first.get("ctx", {}).get("min_length", 1)
        entries = "an entry" if least == 1 else f"{least} entries"
        return f"{where} = {first['input']!r} is not allowed: give it {entries} at least"
    return f"{named}{first['input']!r} is not allowed: {message[0].lower()}{message[1:]}"
