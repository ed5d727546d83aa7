"""The Keras callback, against stand-ins for Keras (the real one is checked by hand, it is large)."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import augury_sdk

if TYPE_CHECKING:
    from conftest import Metrics


@pytest.fixture(autouse=True)
def no_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(augury_sdk.__dict__, "KerasCallback", raising=False)
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    for name in ("keras", "tf_keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)


def pretend(monkeypatch: pytest.MonkeyPatch, name: str) -> type:
    """Install a Keras under this name and return its Callback."""
    base = type("Callback", (), {"origin": name})
    callbacks = ModuleType(f"{name}.callbacks")
    callbacks.__dict__["Callback"] = base
    top = name.partition(".")[0]
    monkeypatch.setitem(sys.modules, top, ModuleType(top))
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, f"{name}.callbacks", callbacks)
    return base


def test_every_number_of_an_epoch_is_reported(monkeypatch: pytest.MonkeyPatch, metrics: Metrics) -> None:
    base = pretend(monkeypatch, "keras")
    callback: Any = augury_sdk.KerasCallback()
    assert base in type(callback).__mro__
    callback.on_epoch_end(0, {"loss": 0.5, "val_acc": np.float32(0.25)})
    callback.on_epoch_end(1, {"loss": float("nan")})
    callback.on_epoch_end(2)
    assert [(point["name"], point["value"], point["index"]) for point in metrics.points] == [
        ("keras/loss", 0.5, 0),
        ("keras/val_acc", 0.25, 0),
        ("keras/loss", "NaN", 1),
    ]


def test_the_class_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "keras")
    assert augury_sdk.KerasCallback is augury_sdk.KerasCallback


@pytest.mark.parametrize("only", ["keras", "tf_keras", "tensorflow.keras"])
def test_the_keras_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch, only: str) -> None:
    pretend(monkeypatch, only)
    assert augury_sdk.KerasCallback.origin == only


def test_legacy_keras_is_used_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "keras")
    pretend(monkeypatch, "tf_keras")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    assert augury_sdk.KerasCallback.origin == "tf_keras"


def test_without_keras_the_error_says_what_to_install() -> None:
    with pytest.raises(ImportError, match="pip install keras"):
        augury_sdk.KerasCallback()


def test_other_names_are_no_attributes() -> None:
    name: Any = "send_metrics"
    with pytest.raises(AttributeError, match="send_metrics"):
        getattr(augury_sdk, name)
