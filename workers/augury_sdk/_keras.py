"""The Keras callback. Keras is found and imported when the class is first asked for."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from augury_sdk._report import send_metric


def callback_class() -> Any:
    """Return the callback class, derived from the Keras that this training uses.

    Raises:
        ImportError: there is no Keras.
    """
    base = _callbacks_module().Callback

    class KerasCallback(base):  # type: ignore[misc, valid-type]
        """Reports every number of a Keras log as `keras/<key>` after each epoch; the index is the epoch."""

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            for key, value in (logs or {}).items():
                send_metric(f"keras/{key}", value, epoch)

    return KerasCallback


def _callbacks_module() -> Any:
    """Prefer the Keras that is already loaded: tf.keras may be one (tf_keras) beside an unused Keras 3."""
    names = ["keras.callbacks", "tf_keras.callbacks", "tensorflow.keras.callbacks"]
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true")
    if legacy or ("tf_keras" in sys.modules and "keras" not in sys.modules):
        names.sort(key=lambda name: name != "tf_keras.callbacks")
    reason = None
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            reason = reason or error
    raise ImportError("augury_sdk.KerasCallback needs Keras, as in: pip install keras") from reason
