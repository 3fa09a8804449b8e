"""A report to look at: an evaluation as one page of HTML that needs nothing but itself (extra ``report``).

``page`` gathers what is on it and writes it, ``figures`` makes the plots fit into it, ``templates`` is how it looks.
"""

from glmheads.report.page import render, write

__all__ = ["render", "write"]
