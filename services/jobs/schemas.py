"""JSON Schemas (draft 2020-12) that the inputs of a job type are checked against."""

from functools import lru_cache
from typing import Any

import jsonschema_rs

from services.jobs import payloads

_COMPILED_MAX = 1000


class InvalidSchema(ValueError):
    """The text is not a JSON Schema that can be used; the message says why."""


@lru_cache(maxsize=_COMPILED_MAX)
def validator(text: str) -> jsonschema_rs.Draft202012Validator:
    """Compiles a schema; the last ones are kept.

    Raises:
        InvalidSchema: If it is not a JSON Schema, can't be stored, or refers to another document: nothing is fetched
            from anywhere.
    """
    try:
        return jsonschema_rs.Draft202012Validator(payloads.parse(payloads.check(text).text), retriever=_refuse)
    except (payloads.NotStorable, payloads.TooLarge) as error:
        raise InvalidSchema(str(error)) from None
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise InvalidSchema(str(error).partition("\n")[0]) from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is another document; put its definitions into $defs")
