"""The conformance kit: every law of a head, checked by property on any array library, dtype and device.

It needs the extra ``testing`` (Hypothesis), and is imported only when it is asked for: ``import glmheads.testing``.
"""

from glmheads.testing.checks import check_head, check_law
from glmheads.testing.laws import LAWS
from glmheads.testing.strategies import Batch, batches

__all__ = ["LAWS", "Batch", "batches", "check_head", "check_law"]
