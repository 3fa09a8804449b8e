"""What a head was made with: its repr, its equality and its dict are all functions of the arguments of the call.

`Configured` notes the arguments whenever an object is made, so a class says nothing of them but what its ``__init__``
does, and a further argument is shown, compared and written as soon as it is there.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import partial
from pkgutil import resolve_name
from typing import Any, Self

__all__ = ["Configured", "qualified_name"]

_SCALARS = (type(None), bool, int, float, str)
_UNNAMED = "*"
"""Where arguments are noted that can't be given by name, those of ``def __init__(self, *args)``."""
_OF_FUNCTION = {"function"}
_OF_OBJECT = {"class", "arguments"}


class Configured:
    """An object that is known by the arguments it was made with."""

    _arguments: dict[str, Any]
    """The arguments that differ from their defaults, by name: see `_given`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._arguments = _given(inspect.signature(cls), args, kwargs)
        return self

    def __repr__(self) -> str:
        unnamed = [_text(value) for value in self._arguments.get(_UNNAMED, ())]
        named = [f"{name}={text}" for name, text in self._shown().items() if name != _UNNAMED]
        return f"{type(self).__name__}({', '.join(unnamed + named)})"

    def _shown(self) -> dict[str, str]:
        """The arguments that differ from their defaults, as text."""
        return {name: _text(value) for name, value in self._arguments.items()}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._arguments == other._arguments

    def __hash__(self) -> int:
        scalars = ((name, value) for name, value in self._arguments.items() if isinstance(value, _SCALARS))
        return hash((type(self), *scalars))

    def to_dict(self) -> dict[str, Any]:
        """What it was made with, as a dict that `from_dict` reads and ``json.dumps`` writes.

        Returns
        -------
        dict
            ``"class"``, the class by the name under which it can be imported; and ``"arguments"``, those that differ
            from their defaults. A function is written by its name too, ``{"function": "package.module.function"}``, and
            an object such as a `NumericColumn` as a dict of this kind.

        Raises
        ------
        ValueError
            If a function or a class can't be imported by its name: a lambda, a partial, what is defined in a function,
            in a notebook or in the program's main file.
        TypeError
            If an argument is neither that nor a number, a string, a list or a dict.

        Examples
        --------
        >>> import glmheads as gh
        >>> head = gh.BinaryClassHead(weight_column="weight", thresholds=[0.25])
        >>> head.to_dict()
        {'class': 'glmheads.BinaryClassHead', 'arguments': {'weight_column': 'weight', 'thresholds': [0.25]}}
        >>> gh.Head.from_dict(head.to_dict())
        BinaryClassHead(weight_column='weight', thresholds=[0.25])
        """
        arguments = {name: _encode(f"{type(self).__name__}: {name}", v) for name, v in self._arguments.items()}
        return {"class": _importable_name(type(self).__name__, type(self)), "arguments": arguments}

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote.

        The classes and functions that the dict names are imported, so read only what you trust.

        Parameters
        ----------
        config : mapping
            From `to_dict`, as it is or through JSON.

        Raises
        ------
        TypeError
            If it is no such dict.
        ValueError
            If a name in it can't be imported, or the class is not this one or a subclass.
        ValueError, TypeError
            As the class does, if it does not take the arguments.
        """
        if not (isinstance(config, Mapping) and set(config) == _OF_OBJECT and isinstance(config["arguments"], Mapping)):
            raise TypeError(
                f"expected a dict that to_dict makes, {{'class': ..., 'arguments': {{...}}}}. Given: {config!r}"
            )
        made = _class(config["class"])
        if not issubclass(made, cls):
            raise ValueError(f"the dict is of {config['class']}, which is no {cls.__name__}")
        found = _make(made, config["arguments"])
        assert isinstance(found, cls)
        return found


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def _given(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call that differ from their defaults, by name and in the order of the signature.

    They are plain (see `_plain`), so that nobody changes them later; a default that belongs to an enumeration says that
    the argument does.
    """
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return {}  # which __init__ is about to raise; or nobody calls it, as when a pickle is read
    kinds = {name: signature.parameters[name].kind for name in bound.arguments}
    unnamed: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY} & set(kinds.values()):
        unnamed, named = bound.args, bound.kwargs
    else:
        for name, value in bound.arguments.items():
            named.update(value if kinds[name] is inspect.Parameter.VAR_KEYWORD else {name: value})
    given: dict[str, Any] = {_UNNAMED: _plain(unnamed)} if unnamed else {}
    for name, value in named.items():
        parameter = signature.parameters.get(name)
        default = inspect.Parameter.empty if parameter is None else parameter.default
        if isinstance(default, Enum):
            with suppress(ValueError):
                value = type(default)(value)
        value = _plain(value)
        if not _same(value, _plain(default)):
            given[name] = value
    return given


def _plain(value: Any) -> Any:
    """A copy of numbers, strings, sequences, sets, mappings and arrays as numbers, str, lists and dicts.

    Any other object is left as it is.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, type):
        return value
    if hasattr(value, "tolist") and not callable(value):
        value = value.tolist()  # an array, a column of a DataFrame or a scalar of NumPy's
    if isinstance(value, (list, tuple, range, set, frozenset)):
        return [_plain(element) for element in value]
    if isinstance(value, Mapping):
        return {_plain(key): _plain(element) for key, element in value.items()}
    return value


def _same(value: Any, default: Any) -> bool:
    """Whether plain values are the same; an object is the same only as itself."""
    if value is default:
        return True
    return type(value) is type(default) and isinstance(value, (*_SCALARS, list, dict)) and bool(value == default)


# ---------------------------------------------------------------------------------------------------------------------
# As text


def _text(value: Any) -> str:
    """The repr of a plain value, with functions by their names and without the defaults of dataclasses."""
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(key)}: {_text(element)}' for key, element in value.items())}}}"
    if hasattr(value, "__qualname__") or isinstance(value, partial):
        return qualified_name(value) or ""
    if is_dataclass(value):
        shown = [f"{field.name}={_text(_plain(found))}" for field, found in _set_fields(value) if field.repr]
        return f"{type(value).__name__}({', '.join(shown)})"
    return repr(value)


def _set_fields(record: Any) -> list[tuple[Field[Any], Any]]:
    """The fields of a dataclass's object that its ``__init__`` takes and that differ from their defaults."""
    found = [(field, getattr(record, field.name)) for field in fields(record) if field.init]
    return [(field, value) for field, value in found if field.default is MISSING or not _same(value, field.default)]


def qualified_name(function: Callable[..., Any] | None) -> str | None:
    """What tells a user's function from another in a head's configuration."""
    if function is None:
        return None
    if isinstance(function, partial):
        return f"partial({qualified_name(function.func)}, {function.args}, {function.keywords})"
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


# ---------------------------------------------------------------------------------------------------------------------
# As JSON


def _encode(where: str, value: Any) -> Any:
    """A plain value as what JSON has; `where` names it in an error."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, list):
        return [_encode(where, element) for element in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value) or set(value) in (_OF_FUNCTION, _OF_OBJECT):
            raise TypeError(
                f"{where} is a dict whose keys {list(value)} can't be written: they must be strings, and "
                f"{sorted(_OF_FUNCTION)} and {sorted(_OF_OBJECT)} stand for functions and objects"
            )
        return {key: _encode(where, element) for key, element in value.items()}
    if isinstance(value, Configured):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        arguments = {field.name: _encode(f"{where}.{field.name}", _plain(found)) for field, found in _set_fields(value)}
        return {"class": _importable_name(where, type(value)), "arguments": arguments}
    if callable(value):
        return {"function": _importable_name(where, value)}
    raise TypeError(f"{where} holds {value!r} of type {type(value)}, for which JSON has no form")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(element) for element in value]
    if isinstance(value, Mapping):
        if set(value) == _OF_FUNCTION:
            return _import(value["function"])
        if set(value) == _OF_OBJECT:
            return _make(_class(value["class"]), value["arguments"])
        return {key: _decode(element) for key, element in value.items()}
    return value


def _class(name: Any) -> type:
    found = _import(name)
    if not (isinstance(found, type) and (issubclass(found, Configured) or is_dataclass(found))):
        raise ValueError(f"{name} is no class of what to_dict writes: a head or a dataclass")
    return found


def _make(made: type, arguments: Mapping[str, Any]) -> Any:
    named = {name: _decode(value) for name, value in arguments.items()}
    return made(*named.pop(_UNNAMED, ()), **named)


def _importable_name(where: str, value: Any) -> str:
    """The dotted name by which a function or a class can be imported, the package's public one where it has one."""
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module is None or qualname is None:
        why = f"an object of type {type(value).__name__} has no name of its own"
    elif "<lambda>" in qualname:
        why = "a lambda has no name"
    elif "<locals>" in qualname:
        why = "it is defined inside a function"
    elif module == "__main__":
        why = "it is defined in __main__, which is another module in another program"
    else:
        package = module.partition(".")[0]
        for name in (f"{package}.{qualname}", f"{module}.{qualname}"):
            with suppress(ImportError, AttributeError, ValueError):
                if resolve_name(name) is value:
                    return name
        why = f"importing {module}.{qualname} does not give it back"
    raise ValueError(
        f"{where} is {value!r}, which can't be written by name: {why}. Define it with def or class in a module that "
        "other programs can import."
    )


def _import(name: Any) -> Any:
    if not isinstance(name, str):
        raise TypeError(f"expected the dotted name of a function or a class. Given: {name!r}")
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name} can't be imported: {error}") from error
