"""What Robi measures about itself: the last minutes in memory, older downsampled in the ledger."""

from core.metrics.histogram import percentiles
from core.metrics.metrics import WINDOW_S, Metrics, as_request
from core.metrics.slow import ENROLLMENT, VERIFICATION

__all__ = ["ENROLLMENT", "VERIFICATION", "WINDOW_S", "Metrics", "as_request", "percentiles"]
