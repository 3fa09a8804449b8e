"""`Statistics`: the record of sufficient statistics; `Measurement`, the kernel that computes it.

    statistics(batch_1 followed by batch_2) == statistics(batch_1) + statistics(batch_2)

A record holds one state per statistic, by name, and `+` adds state by state.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import numpy as np

from glmheads import archive, backends
from glmheads.backends import Array
from glmheads.display import html_table, place
from glmheads.families import Family
from glmheads.inputs import Examples
from glmheads.kernels.reductions import Pair
from glmheads.statistics.states import Form, Ranking, State, Sums, convert, kept
from glmheads.statistics.statistic import BinnedStatistic, Means, Statistic, Validity, histograms

_FORMAT = "glmheads.Statistics"
_VERSION = 3

Forms: TypeAlias = tuple[tuple[str, Form], ...]
"""The states' names and forms."""


class Statistics:
    """All that an evaluation reports is a function of this record; records of one head add up.

    A record is made by ``Head.statistics`` and read by ``Head.results``, ``Head.bounds`` and ``Head.curves``. It is
    immutable, and a JAX pytree. Its size depends on the shapes of the data alone, and is at most about 1 MiB.

    Parameters
    ----------
    config : str
        What the head that made the record measures, as JSON; only records of equal `config` add up.
    states : mapping of State
        The states by name; a state that has seen no data is missing, and the empty record has none.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> head = gh.BinaryClassHead()
    >>> logits, labels = np.asarray([[2.0], [-1.0], [0.5]]), np.asarray([[1], [0], [0]])
    >>> s = head.statistics(labels[:2], logits[:2]) + head.statistics(labels[2:], logits[2:])
    >>> float(head.results(s)["auc"])
    1.0
    """

    # The sums of all states lie end to end in two arrays, their high and their low parts: two records are added by a
    # handful of operations, however many states they have.

    def __init__(self, config: str, states: Mapping[str, State]) -> None:
        forms = tuple((name, state.form) for name, state in states.items())
        pairs = [pair for state in states.values() if isinstance(state, Sums) for pair in state.values.values()]
        rankings = [state for state in states.values() if isinstance(state, Ranking)]
        self._set(config, forms, _pack(pairs) if pairs else (), rankings)

    def _set(self, config: str, forms: Forms, sums: Sequence[Array], rankings: Iterable[Ranking]) -> "Statistics":
        self.config, self._forms, self._sums, self._rankings = config, forms, tuple(sums), tuple(rankings)
        backends.register_pytree(Statistics)
        return self

    def _with(self, sums: Sequence[Array], rankings: Iterable[Ranking]) -> "Statistics":
        """A record of the same states."""
        return Statistics.__new__(Statistics)._set(self.config, self._forms, sums, rankings)

    @property
    def any_array(self) -> Array:
        """One of the arrays; there must be some."""
        return self._sums[0] if self._sums else self._rankings[0].array

    @property
    def backend(self) -> backends.Backend:
        """That of the arrays."""
        return backends.of(self.any_array)

    def __reduce__(self) -> tuple[Any, ...]:
        # By the constructor, which tells the libraries of the class; a graph of autograd can't be copied.
        return Statistics.from_arrays, (self.structure(), self.detach().arrays())

    def __repr__(self) -> str:
        shown = self._shown()
        return f"<Statistics of {shown.pop('head')}: {'; '.join(f'{name} {text}' for name, text in shown.items())}>"

    def _repr_html_(self) -> str:
        return html_table("Statistics", self._shown())

    def _shown(self) -> dict[str, str]:
        """What can be said of the record without waiting for a device and without computing what is lazy."""
        shown = {"head": _head_of(self.config), "states": ", ".join(name for name, _ in self._forms) or "none"}
        arrays = self.arrays()
        if not arrays or not backends.is_array(arrays[0]):  # JAX makes records of other things on the way to its own
            return shown
        shown["in"] = place(arrays[0])
        backend = backends.of(arrays[0])
        if backend.is_concrete(arrays[0]):
            means = self.states.get(Means.name)
            numbers = {"weight": means["weight"]} if isinstance(means, Sums) else {}
            numbers |= {f"invalid {key}": count for key, count in self.invalid.items() if count != 0}
            shown |= {name: f"{float(backend.detach(number)):.12g}" for name, number in numbers.items()}
        return shown

    @property
    def states(self) -> Mapping[str, State]:
        """The states by name."""
        found: Mapping[str, State] = MappingProxyType({})
        return kept(self, "_states", self.any_array, self._unpacked) if self._forms else found

    def _unpacked(self) -> Mapping[str, State]:
        found: dict[str, State] = {}
        rankings, start = iter(self._rankings), 0
        for name, form in self._forms:
            sums = {}
            for key, shape in () if form is None else form:
                stop = start + math.prod(shape)
                # Under a transformation that has mapped over records, the arrays have axes in front.
                both = (backends.of(a).xp.reshape(a[..., start:stop], (*a.shape[:-1], *shape)) for a in self._sums)
                sums[key], start = Pair(*both), stop
            found[name] = next(rankings) if form is None else Sums(sums)
        return MappingProxyType(found)

    # Adding

    def __add__(self, other: "Statistics") -> "Statistics":
        """The record of the data of both.

        Raises
        ------
        ValueError
            If the heads that made the records measure different things, or the records are on different devices.
        """
        if not isinstance(other, Statistics):
            return NotImplemented
        if self.config != other.config:
            raise ValueError(
                "statistics of differently configured heads don't add up: "
                f"the left head is {self.config}, the right one {other.config}"
            )
        if not (self._forms and other._forms):
            return self if self._forms else other
        left, right = _in_one_library(self, other)
        with left.backend.errstate():
            if left._forms == right._forms:
                sums = Pair(*left._sums) + Pair(*right._sums) if left._sums else ()
                return left._with(sums, (a + b for a, b in zip(left._rankings, right._rankings, strict=True)))
            states: dict[str, Any] = dict(left.states)
            for name, state in right.states.items():
                states[name] = states[name] + state if name in states else state
        return Statistics(self.config, states)

    def with_state(self, name: str, state: State) -> "Statistics":
        """The record with one state more, or another one of that name."""
        return Statistics(self.config, {**self.states, name: state})

    def compressed(self) -> "Statistics":
        """The same record within its bound on memory, which one made of many examples at once may exceed."""
        return self._with(self._sums, (state.compressed() for state in self._rankings)) if self._rankings else self

    def fixed_shape(self) -> "Statistics":
        """The same record in the largest shape that it can grow to, which adding keeps."""
        return self._with(self._sums, (state.fixed_shape() for state in self._rankings))

    # Arrays

    def arrays(self) -> list[Array]:
        """All arrays of the record, in a fixed order."""
        return [*self._sums, *(state.array for state in self._rankings)]

    def structure(self) -> tuple[str, Forms]:
        """What the record is beside its arrays: hashable, as a JAX pytree needs."""
        return self.config, self._forms

    @classmethod
    def from_arrays(cls, structure: tuple[str, Sequence[Any]], arrays: Sequence[Array]) -> "Statistics":
        """The record of this structure, as it is or read from JSON, that holds these arrays."""
        config, forms = structure
        if not isinstance(forms, tuple):
            forms = tuple((name, form and tuple((key, tuple(shape)) for key, shape in form)) for name, form in forms)
        count = len(arrays) - sum(form is None for _, form in forms)
        return cls.__new__(cls)._set(config, forms, arrays[:count], [Ranking(slots) for slots in arrays[count:]])

    def map(self, function: Callable[[Array], Array]) -> "Statistics":
        """The record with `function` applied to every array."""
        return Statistics.from_arrays(self.structure(), [function(array) for array in self.arrays()])

    def detach(self) -> "Statistics":
        """The record without the graph that autograd would keep alive with it."""
        return self.map(self.backend.detach) if self._forms and self.backend.has_autograd else self

    @property
    def invalid(self) -> dict[str, Array]:
        """How many elements of nonzero weight had a NaN logit, a bad label or a bad weight: 0-d arrays by argument.

        Where values are at hand, bad labels and weights are refused before they can be counted.
        """
        keys = ("logits", "labels", "weights")
        state = self.states.get(Validity.name)
        if not isinstance(state, Sums):
            return {key: np.asarray(0.0) for key in keys}
        return dict(kept(state, "_counts", state.values[keys[0]].hi, lambda: {key: state[key] for key in keys}))

    # Moving

    def _on_host(self) -> "Statistics":
        """The record as NumPy arrays; what is lazy is computed in one go."""
        arrays = self.arrays()
        return Statistics.from_arrays(self.structure(), backends.of(arrays[0]).to_numpy_all(arrays) if arrays else [])

    def to(self, target: Any, device: Any = None) -> "Statistics":
        """The record in another library or on another device; waits for the device, and computes what is lazy.

        Parameters
        ----------
        target : str, module or device
            A library (``"torch"``, ``jax.numpy``), or a device of the record's own library (``"cuda"``,
            ``torch.device("cuda:1")``).
        device : device, optional
            Where in that library; its default device if it is not given.

        Raises
        ------
        ValueError
            If `target` is neither.
        """
        arrays = self.arrays()
        if not arrays:
            return self
        try:
            backend = backends.named(target)
        except ValueError:
            if device is not None:
                raise
            backend = backends.of(arrays[0])
            try:
                device = backend.find_device(target)
                backend.from_numpy(np.zeros(1, dtype=np.float32), device)
            except Exception as error:
                raise ValueError(
                    f"{target!r} is neither an installed array library nor a device of {backend.name}: {error}"
                ) from error
        else:
            device = None if device is None else backend.find_device(device)
        here = self._on_host()
        probe = backend.from_numpy(np.zeros(1, dtype=np.float32), device)
        dtype = np.float64 if backend.accumulation_dtype(backend.device(probe)) == backend.xp.float64 else np.float32
        sums = convert(Pair(*here._sums), dtype) if here._sums else ()
        here = here._with(sums, (state.converted(dtype) for state in here._rankings))
        return here.map(lambda array: backend.from_numpy(array, device))

    # Saving

    def save(self, file: archive.File) -> None:
        """Write the record to a file, in NumPy's npz format and without pickle.

        Parameters
        ----------
        file : path or binary file
            A path without an ending gets .npz.
        """
        here = self._on_host()
        archive.write(file, {"format": _FORMAT, "version": _VERSION, "structure": here.structure()}, here.arrays())

    @classmethod
    def load(cls, file: archive.File) -> "Statistics":
        """The record that `save` wrote, as NumPy arrays; ``to`` brings it elsewhere.

        Raises
        ------
        ValueError
            If the file is not such a record, is damaged, or is of a later version of the format.
        """
        fields, arrays = archive.read(file, _FORMAT, _VERSION, noun="glmheads statistics")
        try:
            record = cls.from_arrays(fields["structure"], arrays)
            _ = record.states
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{file} is not a file of glmheads statistics: its header is {fields!r}") from error
        return record


@dataclass(frozen=True)
class Measurement:
    """Computes all statistics of a head, for ``engine.run``.

    Attributes
    ----------
    config : str
        That of the records.
    family : Family
        Whose losses and predictions are measured, where the examples do not hold others.
    statistics : tuple of Statistic
    """

    config: str
    family: Family
    statistics: tuple[Statistic, ...]

    @backends.once
    def is_safe(self) -> bool:
        """Whether nothing can fail on validated examples, so that they may be measured later."""
        return self.family.portable and all(statistic.is_safe for statistic in self.statistics)

    @property
    def elementwise(self) -> bool:
        """As the family is."""
        return self.family.elementwise

    portable: ClassVar[bool] = True
    """Losses and predictions of a family that is not portable are computed before."""

    def __call__(self, examples: Examples) -> tuple[Statistics, None]:
        labels, logits, weights, losses, predictions = examples.arrays()
        if losses is None and predictions is None:
            losses, predictions = self.family.loss_and_mean(labels, logits)
        elif losses is None:
            losses = self.family.loss(labels, logits)
        elif predictions is None:
            predictions = self.family.inverse_link(logits)
        xp, shape = examples.backend.xp, examples.logits.shape
        if self.elementwise and weights is not None and weights.shape != shape:
            weights = xp.broadcast_to(weights, shape)
        if not self.elementwise:
            losses = xp.reshape(losses, (-1, 1))
        examples = examples.with_arrays([labels, logits, weights, losses, predictions])
        examples = examples.flattened(elementwise=self.elementwise)
        binned = tuple(each for each in self.statistics if isinstance(each, BinnedStatistic))
        joint = histograms(binned, examples) if binned else {}
        states = {each.name: joint.get(each.name) or each.state(examples) for each in self.statistics}
        return Statistics(self.config, states), None


def _head_of(config: str) -> str:
    """The name of the head's class; what is no head's configuration, as it is."""
    try:
        return str(json.loads(config)["head"])
    except (ValueError, KeyError, TypeError):
        return config


def _pack(pairs: Sequence[Pair]) -> Pair:
    """The pairs' elements end to end."""
    xp = backends.of(pairs[0].hi).xp

    def flat(array: Array) -> Array:
        return array[None] if array.ndim == 0 else xp.reshape(array, (-1,))

    hi = xp.concat([flat(pair.hi) for pair in pairs])
    if all(pair.is_plain for pair in pairs):
        return Pair(hi, xp.zeros_like(hi))
    return Pair(hi, xp.concat([flat(pair.arrays()[1]) for pair in pairs]))


def _in_one_library(left: Statistics, right: Statistics) -> tuple[Statistics, Statistics]:
    """Both records in the library of one: the left one's, unless the right one alone has no values yet."""
    one, other = left.any_array, right.any_array
    ours, theirs = backends.of(one), backends.of(other)
    if ours is theirs:
        here, there = ours.device(one), ours.device(other)
        if here != there and None not in (here, there):
            raise ValueError(
                f"the records are on different devices, {here} and {there}: move one with Statistics.to(device)"
            )
        if one.dtype == other.dtype:
            return left, right
        # One was made where the accumulation dtype is another: without x64, or loaded from the file of such a record.
        return left.to(ours.xp), right.to(ours.xp)
    for backend, array, name in ((ours, one, "left"), (theirs, other, "right")):
        if not backend.on_host(array):
            raise ValueError(
                f"the {name} record is of {backend.name} on {backend.device(array)} and the other of another library: "
                "move one with Statistics.to(library, device)"
            )
    to_theirs = theirs.is_lazy(other) and not ours.is_lazy(one)
    return (left.to(theirs.xp), right) if to_theirs else (left, right.to(ours.xp))
