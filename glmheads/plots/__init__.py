"""Plots of statistics: curves with their bounds, calibration, scores by class, slices (extra ``plots``).

Each function draws on the Axes that it is given, or on those of a new figure, and returns them. They touch no state of
pyplot, which is not imported, and take their colours from matplotlib's settings.
"""

from glmheads.plots.curves import precision_recall, roc
from glmheads.plots.probabilities import calibration, is_of_rare_events, scores
from glmheads.plots.slice_dots import slices

__all__ = ["calibration", "is_of_rare_events", "precision_recall", "roc", "scores", "slices"]
