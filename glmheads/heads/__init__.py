"""Heads: the interface, the head of a family, and a file for each kind of model output."""

from glmheads.heads.family_head import FamilyHead
from glmheads.heads.head import Head

__all__ = ["FamilyHead", "Head"]
