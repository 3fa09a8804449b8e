"""`Measurement`: the kernel that computes the record of examples."""

from dataclasses import dataclass

from glmheads import backends
from glmheads.families import Family
from glmheads.inputs import Examples
from glmheads.statistics.record import Statistics
from glmheads.statistics.statistic import BinnedStatistic, Statistic, histograms

__all__ = ["Measurement"]


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

    @property
    def portable(self) -> bool:
        """Always: losses and predictions of a family that is not portable are computed before."""
        return True

    def __call__(self, examples: Examples) -> tuple[Statistics, None]:
        examples = self._evaluated(examples)
        binned = tuple(each for each in self.statistics if isinstance(each, BinnedStatistic))
        states = dict(histograms(binned, examples)) if binned else {}
        return Statistics(
            self.config,
            {each.name: states[each.name] if each.name in states else each.state(examples) for each in self.statistics},
        ), None

    def _evaluated(self, examples: Examples) -> Examples:
        """The examples with losses and predictions; those of an elementwise family with one axis."""
        labels, logits, weights = examples.labels, examples.logits, examples.weights
        losses, predictions = examples.losses, examples.predictions
        if losses is None and predictions is None:
            losses, predictions = self.family.loss_and_mean(labels, logits)
        elif losses is None:
            losses = self.family.loss(labels, logits)
        elif predictions is None:
            predictions = self.family.inverse_link(logits)
        xp = examples.backend.xp
        if self.elementwise and weights is not None and weights.shape != logits.shape:
            weights = xp.broadcast_to(weights, logits.shape)
        if not self.elementwise:
            losses = xp.reshape(losses, (-1, 1))
        evaluated = examples.with_arrays([labels, logits, weights, losses, predictions])
        return evaluated.flattened(elementwise=self.elementwise)
