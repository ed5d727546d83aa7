"""What a training script may import: report metrics, read the values of the run.

    import augury_sdk

    rate = augury_sdk.params().get("rate", 0.01)
    augury_sdk.send_metric("keras/val_acc", 0.91)               # the next index of that name
    augury_sdk.send_metric("keras/val_acc", 0.93, index=7)
    model.fit(..., callbacks=[augury_sdk.KerasCallback()])      # keras/<key> after every epoch

Inside a run this package is importable without being installed. It needs the standard library only, works
from Python 3.8 on, never raises into a training and never waits for a network: a point is one line of JSON
appended to the file that the environment variable AUGURY_METRICS names, which any language can do as well:

    {"name": "keras/val_acc", "value": 0.91, "index": 3, "time": 1732000000.123}

`index` may be left out (the previous index of that name + 1, the first is 0), `time` too (when the line was
read; seconds since 1970). A value that is not finite is one of the texts "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augury_sdk._notice import MetricWarning
from augury_sdk._report import send_metric
from augury_sdk._run import params, run_id

__all__ = ["MetricWarning", "params", "run_id", "send_metric"]

if TYPE_CHECKING:
    KerasCallback: Any
else:

    def __getattr__(name):
        """Build `KerasCallback` when it is first asked for, so that Keras is imported by its users alone."""
        if name != "KerasCallback":
            raise AttributeError(f"module 'augury_sdk' has no attribute {name!r}")
        from augury_sdk._keras import callback_class

        return globals().setdefault(name, callback_class())
