"""`Family`: a distribution with its link, as loss, derivatives and inverse link; `Interval` and `Link`, its parts."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from glmheads.backends import Array
from glmheads.display import qualified_name

Function = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; an end that is not closed is not among them, and infinity never is.

    Examples
    --------
    >>> import glmheads as gh
    >>> positive = gh.Interval(0, float("inf"), low_closed=False)
    >>> print(positive)
    > 0
    """

    low: float = -math.inf
    high: float = math.inf
    low_closed: bool = True
    high_closed: bool = True

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"an Interval needs low <= high. Given: low={self.low!r}, high={self.high!r}")
        for end in ("low", "high"):
            if math.isinf(getattr(self, end)):
                object.__setattr__(self, f"{end}_closed", False)

    def contains(self, values: Array) -> Array:
        """Which values are finite numbers in the interval."""
        above = values >= self.low if self.low_closed else values > self.low
        below = values <= self.high if self.high_closed else values < self.high
        return above & below

    def contains_range(self, least: float, most: float) -> bool:
        """Whether all numbers from `least` to `most` are finite and in the interval."""
        above = least >= self.low if self.low_closed else least > self.low
        return above and (most <= self.high if self.high_closed else most < self.high)

    def __str__(self) -> str:
        ends = [f">{'=' * self.low_closed} {self.low:g}"] if self.low > -math.inf else []
        ends += [f"<{'=' * self.high_closed} {self.high:g}"] if self.high < math.inf else []
        return " and ".join(ends)


@dataclass(frozen=True)
class Link:
    """A link: `inverse` takes logits to means, `forward` means to logits.

    Examples
    --------
    >>> from glmheads.families import BERNOULLI
    >>> import numpy as np
    >>> BERNOULLI.link.forward(np.asarray([0.5])).tolist()
    [0.0]
    """

    name: str
    inverse: Callable[[Array], Array]
    forward: Callable[[Array], Array]


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Family:
    """Loss, gradient, hessian and inverse link of one distribution.

    Make one of functions, or subclass it and define them as methods; then `name` and what differs from the defaults
    below are class attributes.

    Parameters
    ----------
    name : str
    loss, gradient, hessian : callable of (labels, logits)
        The unreduced, unweighted loss, and its first and second derivative by the logits (of a family that is not
        elementwise the diagonal of the second).
    inverse_link : callable of (logits)
        The mean of the distribution, shaped like the logits.
    valid_labels : Interval, optional
        The labels that the distribution allows; every finite number if not given.
    elementwise : bool
        Whether each logit has a label and a loss of its own. If not, the last axis of the logits belongs together (as
        in softmax): functions take logits (n, d) and labels (n, 1) or (n, d), and the loss is (n, 1) or (n,).
    portable : bool
        Whether the functions take arrays of any library that follows the Array API standard. Then PyTorch tensors on
        the CPU are computed as the NumPy arrays with which they share memory.

    Raises
    ------
    TypeError
        If a function is missing or is not callable.

    Notes
    -----
    Labels and logits are float32 or float64, and so is what the functions return. The loss of an example must depend
    on that example alone.

    Examples
    --------
    >>> import numpy as np, glmheads as gh
    >>> half = gh.Family(
    ...     name="half squared error",
    ...     loss=lambda labels, logits: (logits - labels) ** 2 / 2,
    ...     gradient=lambda labels, logits: logits - labels,
    ...     hessian=lambda labels, logits: 0 * logits + 1,
    ...     inverse_link=lambda logits: logits,
    ... )
    >>> half.gradient(np.asarray([1.0, 2.0]), np.asarray([1.5, 1.0])).tolist()
    [0.5, -1.0]
    """

    name: str
    loss: Function
    gradient: Function
    hessian: Function
    inverse_link: Callable[[Array], Array]
    valid_labels: Interval | None = None
    elementwise: bool = True
    portable: bool = False
    is_changed: ClassVar[bool] = False
    """Whether a function is not the class's own, as after ``dataclasses.replace``."""
    link: ClassVar[Link | None] = None
    """The link that `inverse_link` is the inverse of, if it is known: it takes means back to logits."""

    def __init__(
        self,
        *,
        name: str | None = None,
        loss: Function | None = None,
        gradient: Function | None = None,
        hessian: Function | None = None,
        inverse_link: Callable[[Array], Array] | None = None,
        valid_labels: Interval | None = None,
        elementwise: bool | None = None,
        portable: bool | None = None,
    ) -> None:
        functions = {"loss": loss, "gradient": gradient, "hessian": hessian, "inverse_link": inverse_link}
        options = {"name": name, "valid_labels": valid_labels, "elementwise": elementwise, "portable": portable}
        given = functions | options
        own = {key: part for key, part in given.items() if part not in (None, getattr(type(self), key, None))}
        vars(self).update(own, is_changed=not functions.keys().isdisjoint(own))
        if not isinstance(getattr(self, "name", None), str):
            raise TypeError(f"name must be a string. Given: {name!r}")
        for key in functions:
            if not callable(getattr(self, key, None)):
                raise TypeError(f"family {self.name!r}: {key} must be callable. Given: {getattr(self, key, None)!r}")
        if not (self.valid_labels is None or isinstance(self.valid_labels, Interval)):
            raise TypeError(f"family {self.name!r}: valid_labels must be an Interval. Given: {valid_labels!r}")

    def loss_and_gradient(self, labels: Array, logits: Array) -> tuple[Array, Array]:
        """``loss`` and ``gradient``; override it to do the work that they share once."""
        return self.loss(labels, logits), self.gradient(labels, logits)

    def loss_and_mean(self, labels: Array, logits: Array) -> tuple[Array, Array]:
        """``loss`` and ``inverse_link``, likewise."""
        return self.loss(labels, logits), self.inverse_link(logits)

    def _parts(self) -> dict[str, Any]:
        return {field.name: getattr(type(self), field.name, None) for field in fields(self)} | vars(self)

    @property
    def identity(self) -> str:
        """Text that tells the family from every other: its class and its parts."""
        parts = {key: qualified_name(part) if callable(part) else part for key, part in self._parts().items()}
        return f"{type(self).__module__}.{type(self).__qualname__}{parts}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Family) and type(self) is type(other) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __repr__(self) -> str:
        return f"Family(name={self.name!r})"
