"""Plots of what a record knows: curves with their bounds, calibration, scores by class, slices (extra ``plots``).

``bands`` says where a curve can be, ``axes`` draws. matplotlib is imported when the first plot is drawn; pyplot is not.
"""

from glmheads.plots.axes import calibration, is_of_rare_events, precision_recall, roc, scores, slices

__all__ = ["calibration", "is_of_rare_events", "precision_recall", "roc", "scores", "slices"]
