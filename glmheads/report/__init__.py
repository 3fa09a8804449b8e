"""An evaluation as one self-contained page of HTML (extra ``report``).

``page`` gathers the content and renders it, ``figures`` makes the plots, ``templates`` holds the texts and the style.
"""

from glmheads.report.page import render, write

__all__ = ["render", "write"]
