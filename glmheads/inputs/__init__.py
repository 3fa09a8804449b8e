"""From what people have to `Examples`: arrays, tables, columns of weights, vocabularies, and checks of values."""

from glmheads.inputs.columns import NumericColumn, as_labels, as_logits, as_weights, numeric_column
from glmheads.inputs.examples import Examples, LabelRule

__all__ = ["Examples", "LabelRule", "NumericColumn", "as_labels", "as_logits", "as_weights", "numeric_column"]
