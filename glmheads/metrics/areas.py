"""Areas under the ROC and the precision–recall curve."""

from glmheads.kernels import curves
from glmheads.metrics.spec import MetricSpec, Partial
from glmheads.names import MetricKeys
from glmheads.statistics import RankingSummary, ScoreBuckets

__all__ = ["area_metrics"]


def area_metrics(statistic: RankingSummary | ScoreBuckets) -> tuple[MetricSpec, ...]:
    """Both areas, by rank of the logits or by Keras's thresholds."""
    kind = type(statistic)
    return tuple(
        MetricSpec(
            key,
            statistic,
            value=Partial(kind.area, (statistic, area)),
            bounds=Partial(kind.area_bounds, (statistic, area)),
        )
        for key, area in ((MetricKeys.AUC, curves.roc_area), (MetricKeys.AUC_PR, curves.precision_recall_area))
    )
