"""Calls of domain functions, and their outcomes, as messages between the processes of one server.

A function is named by its module and its own name; its arguments and its result are JSON by its type hints. A message can therefore call
only functions that take a transaction, with values of the declared types.
"""

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from inspect import isfunction
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Raw, Struct

from seneca import database, errors
from seneca.database import Transaction
from seneca.errors import ApiError

Function = Callable[..., Any]

PACKAGE: Final = "seneca"
"""Functions of other packages are not called."""


class Call(Struct, frozen=True, array_like=True):
    """A call ``function(tx, …)``: the values of its positional arguments, then those of the keywords."""

    function: str
    positional: int
    keywords: tuple[str, ...]
    values: Raw


class Failure(Struct, frozen=True, array_like=True):
    """An error that clients get: the name of its class, and its attributes as JSON."""

    error: str
    attributes: dict[str, Any]


class WriteFailed(Exception):
    """A write raised an unexpected error in the writer's process: a bug. The text has the traceback of that error."""


def encode_call(f: Function, args: Sequence[Any], keywords: Mapping[str, Any]) -> bytes:
    """Encode the call ``f(tx, *args, **keywords)``. Raises TypeError if a value has no JSON form."""
    values = Raw(_encoder.encode((*args, *keywords.values())))
    return _encoder.encode(Call(f"{f.__module__}:{f.__qualname__}", len(args), tuple(keywords), values))


def decode_call(message: bytes) -> tuple[Function, Callable[[Transaction], Any]]:
    """Decode a call: its function, and the work to run in a transaction.

    Raises:
        LookupError: there is no such function that takes a transaction.
        msgspec.MsgspecError: the message or an argument is not of the declared type.

    """
    call = _call_decoder.decode(message)
    f = _find(call.function)
    values = _arguments_decoder(f, call.positional, call.keywords).decode(call.values)
    args, keywords = values[: call.positional], dict(zip(call.keywords, values[call.positional :], strict=True))
    return f, partial(_run, f, args, keywords)


def _run(f: Function, args: Sequence[Any], keywords: Mapping[str, Any], tx: Transaction) -> Any:
    return f(tx, *args, **keywords)


def encode_result(result: object) -> bytes:
    """Encode the result of a call. Raises TypeError if it has no JSON form."""
    return _encoder.encode(result)


def decode_result(f: Function, message: bytes) -> Any:
    """Decode the result of a call of this function."""
    return _result_decoder(f).decode(message)


def encode_error(error: Exception) -> bytes:
    """Encode the error of a call."""
    if isinstance(error, ApiError | database.UniqueViolation | database.ForeignKeyViolation):
        return _encoder.encode(_to_failure(error))
    text = "".join(traceback.format_exception(error))
    return _encoder.encode(Failure(WriteFailed.__name__, {"text": text.encode(errors="replace").decode()}))


def decode_error(message: bytes) -> Exception:
    """Decode the error of a call: of the same class and with the same attributes, or WriteFailed if it was a bug."""
    failure = _failure_decoder.decode(message)
    if failure.error == WriteFailed.__name__:
        return WriteFailed(failure.attributes["text"])
    return _from_failure(failure)


def _to_failure(error: Exception) -> Failure:
    return Failure(type(error).__name__, vars(error))


def _from_failure(failure: Failure) -> Exception:
    kind = getattr(errors, failure.error, None) or getattr(database, failure.error)
    error: Exception = kind.__new__(kind, failure.attributes.get("detail"))
    vars(error).update(failure.attributes)
    return error


def _find(name: str) -> Function:
    """The function of this name, of a module that is loaded."""
    module, _, function = name.partition(":")
    f = getattr(sys.modules[module], function, None) if module.partition(".")[0] == PACKAGE else None
    if not isfunction(f) or _hints(f).get("tx") is not Transaction:
        raise LookupError(f"{name} is not a function that takes a transaction")
    return f


@cache
def _hints(f: Function) -> dict[str, Any]:
    return get_type_hints(f, include_extras=True)


@cache
def _arguments_decoder(
    f: Function, positional: int, keywords: tuple[str, ...]
) -> msgspec.json.Decoder[tuple[Any, ...]]:
    """The decoder of the values of a call, by the number of positional arguments besides the transaction and by the keywords."""
    hints = _hints(f)
    names = f.__code__.co_varnames[1 : 1 + positional]
    types = tuple(hints[name] for name in (*names, *keywords))
    return msgspec.json.Decoder(tuple[types], dec_hook=_decode_hook)  # type: ignore[valid-type]


@cache
def _result_decoder(f: Function) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_hints(f)["return"], dec_hook=_decode_hook)


def _encode_hook(value: object) -> object:
    if isinstance(value, ApiError):
        return _to_failure(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _decode_hook(kind: type, value: Any) -> object:
    if kind is ApiError:
        return _from_failure(msgspec.convert(value, Failure))
    raise TypeError(f"{kind.__name__} has no JSON form")


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_hook)
_call_decoder: Final = msgspec.json.Decoder(Call)
_failure_decoder: Final = msgspec.json.Decoder(Failure)
