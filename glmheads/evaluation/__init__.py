"""A head over tables and streams of batches, for all examples and for slices, in one pass.

``evaluator`` reads and measures, ``evaluation`` holds the results, ``rows`` makes rows and tables of them, ``keys``
reads the columns of slices.
"""

from glmheads.evaluation.evaluation import Evaluation
from glmheads.evaluation.evaluator import Evaluator, evaluate
from glmheads.evaluation.keys import Key

__all__ = ["Evaluation", "Evaluator", "Key", "evaluate"]
