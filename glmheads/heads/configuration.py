"""How a head is shown, compared and written: by the arguments of its class, each kept in the attribute of its name."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pkgutil import resolve_name
from typing import Any, Self

from glmheads.display import qualified_name
from glmheads.families import Family

_SCALARS = (type(None), bool, int, float, str)
_FUNCTION = {"function"}
_OBJECT = {"class", "arguments"}


class Configured:
    """An object that is known by its arguments."""

    def __repr__(self) -> str:
        return _call(self, self._shown())

    def _shown(self) -> dict[str, str]:
        """The arguments that differ from their defaults, as text."""
        return {name: _text(value) for name, value in _arguments(self).items()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and _public(self) == _public(other)

    def __hash__(self) -> int:
        scalars = ((name, value) for name, value in _public(self).items() if isinstance(value, _SCALARS))
        return hash((type(self), *scalars))

    def to_dict(self) -> dict[str, Any]:
        """The head's arguments, as a dict that `from_dict` reads and ``json.dumps`` writes.

        Returns
        -------
        dict
            ``"class"``, the name by which the class can be imported; and ``"arguments"``, those that differ from their
            defaults. A function is written by its name too, ``{"function": "package.module.function"}``, and an object
            such as a `NumericColumn` as a dict of this kind.

        Raises
        ------
        ValueError
            If a function or a class can't be imported by its name: a lambda, a partial, what is defined in a function,
            in a notebook or in the program's main file.
        TypeError
            If an argument is neither that nor a number, a string, a list or a dict; or if the class takes an argument
            that is not kept in an attribute of its name.

        Examples
        --------
        >>> import glmheads as gh
        >>> head = gh.BinaryClassHead(weight_column="weight", thresholds=[0.25])
        >>> head.to_dict()
        {'class': 'glmheads.BinaryClassHead', 'arguments': {'weight_column': 'weight', 'thresholds': [0.25]}}
        >>> gh.Head.from_dict(head.to_dict())
        BinaryClassHead(weight_column='weight', thresholds=[0.25])
        """
        own = type(self).__name__
        for name in _parameters(type(self)):
            if not hasattr(self, _attribute(name)):
                raise TypeError(f"{own} takes the argument {name}, but keeps no attribute {name}: set it in __init__")
        return _encode_object(own, f"{own}: ", self)

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """The head that `to_dict` wrote.

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
        if not (isinstance(config, Mapping) and set(config) == _OBJECT and isinstance(config["arguments"], Mapping)):
            raise TypeError(f"expected a dict that to_dict makes, of a class and its arguments. Given: {config!r}")
        if not issubclass(_class(config["class"]), cls):
            raise ValueError(f"the dict is of {config['class']}, which is no {cls.__name__}")
        found: Self = _decode(config)
        return found


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The named parameters of a class, with those of its base in place of ``*args`` and ``**kwargs``."""
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    own = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    named = {name: p for name, p in own.items() if name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    if len(named) + 1 == len(own):
        return named
    return {**_parameters(next(base for base in cls.__mro__[1:] if "__init__" in vars(base))), **named}


def _attribute(parameter: str) -> str:
    return "metric_specs" if parameter == "metrics" else parameter  # Head.metrics is a method


def _arguments(value: Any) -> dict[str, Any]:
    """The arguments that differ from their defaults, as plain values; for a family, from its class's."""
    found = {}
    for name, parameter in _parameters(type(value)).items():
        attribute = _attribute(name)
        if not hasattr(value, attribute) or (isinstance(value, Family) and attribute not in vars(value)):
            continue
        argument, default = _plain(getattr(value, attribute)), _plain(parameter.default)
        # an object is the same only as itself
        is_comparable = type(argument) is type(default) and isinstance(argument, (*_SCALARS, list, dict))
        if not (argument is default or (is_comparable and argument == default)):
            found[name] = argument
    return found


def _public(head: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in vars(head).items() if not name.startswith("_")}


def _plain(value: Any) -> Any:
    """Numbers, strings, sequences, sets, mappings and arrays as numbers, str, lists and dicts; other objects as is."""
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "tolist") and not callable(value):
        value = value.tolist()  # an array, a column of a DataFrame or a scalar of NumPy's
    if isinstance(value, (list, tuple, range, set, frozenset)):
        return [_plain(element) for element in value]
    if isinstance(value, Mapping):
        return {_plain(key): _plain(element) for key, element in value.items()}
    return value


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
    if is_dataclass(value) and not isinstance(value, Configured):
        hidden = {field.name for field in fields(value) if not field.repr}
        return _call(value, {name: _text(found) for name, found in _arguments(value).items() if name not in hidden})
    return repr(value)


def _call(value: object, arguments: Mapping[str, str]) -> str:
    return f"{type(value).__name__}({', '.join(f'{name}={text}' for name, text in arguments.items())})"


# ---------------------------------------------------------------------------------------------------------------------
# As JSON


def _encode(where: str, value: Any) -> Any:
    """A plain value as what JSON has; `where` names it in an error."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, list):
        return [_encode(where, element) for element in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value) or set(value) in (_FUNCTION, _OBJECT):
            raise TypeError(
                f"{where} is a dict whose keys {list(value)} can't be written: they must be strings, and "
                f"{sorted(_FUNCTION)} and {sorted(_OBJECT)} stand for functions and objects"
            )
        return {key: _encode(where, element) for key, element in value.items()}
    if isinstance(value, Configured):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return _encode_object(where, f"{where}.", value)
    if callable(value):
        return {"function": _importable_name(where, value)}
    raise TypeError(f"{where} holds {value!r} of type {type(value)}, for which JSON has no form")


def _encode_object(where: str, prefix: str, value: object) -> dict[str, Any]:
    arguments = {name: _encode(f"{prefix}{name}", argument) for name, argument in _arguments(value).items()}
    return {"class": _importable_name(where, type(value)), "arguments": arguments}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(element) for element in value]
    if not isinstance(value, Mapping):
        return value
    if set(value) == _FUNCTION:
        return _import(value["function"])
    if set(value) == _OBJECT:
        return _class(value["class"])(**{name: _decode(element) for name, element in value["arguments"].items()})
    return {key: _decode(element) for key, element in value.items()}


def _class(name: Any) -> type:
    found = _import(name)
    if not (isinstance(found, type) and (issubclass(found, Configured) or is_dataclass(found))):
        raise ValueError(f"{name} is no class of what to_dict writes: a head, a family or a dataclass")
    return found


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


def _import(name: Any) -> Callable[..., Any]:
    if not isinstance(name, str):
        raise TypeError(f"expected the dotted name of a function or a class. Given: {name!r}")
    try:
        return resolve_name(name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name} can't be imported: {error}") from error
