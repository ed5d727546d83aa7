"""`spell.metrics` as old scripts know it, on top of `augury_sdk`."""

from augury_sdk import MetricWarning as SpellMetricWarning
from augury_sdk import send_metric

__all__ = ["SpellMetricWarning", "send_metric"]
