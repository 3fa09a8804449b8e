"""A head over data as people have them: tables and streams of batches, as a whole and by slices, in one pass.

``evaluator`` reads and measures, ``found`` is what comes out, ``tables`` and ``keys`` are what it takes of tables.
"""

from glmheads.evaluation.evaluator import Evaluator, evaluate
from glmheads.evaluation.found import Evaluation
from glmheads.evaluation.keys import Key

__all__ = ["Evaluation", "Evaluator", "Key", "evaluate"]
