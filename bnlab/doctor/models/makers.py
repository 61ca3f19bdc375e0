"""Finds the room of a model: Keras 3, tf_keras or a SavedModel. No other room asks who made it."""

import sys

import keras

from bnlab.doctor.models.keras_model import KerasModel
from bnlab.doctor.models.saved_model import SavedModel
from bnlab.doctor.sample import type_name


def check_model(model):
    """Raise a TypeError if there is no room for this."""
    if _room(model) is None:
        raise TypeError(
            f"model is a {type_name(model)}; expected a Keras 3 or tf_keras model, or a SavedModel from "
            "bnlab.doctor.models.saved_model.load"
        )


def check_writable(model):
    """Raise a TypeError if what a model remembers cannot be changed."""
    check_model(model)
    if getattr(model, "read_only", ""):
        raise TypeError(
            f"model is the SavedModel {model.name!r}, which cannot be changed; recalibrate the Keras "
            "model it was exported from, and export that again"
        )


def watchable(model, x, **called):
    """Return a model as its room watches it; x is a first batch, for one that has no weights yet."""
    return _room(model)(model, x, **called)


def _room(model):
    """Return what makes a model watchable, or None."""
    if isinstance(model, keras.Layer):
        return KerasModel
    if isinstance(model, SavedModel):
        return lambda model, _x, **_called: model
    tf_keras = sys.modules.get("tf_keras")  # who has such a model has imported it; it takes seconds
    if tf_keras and isinstance(model, tf_keras.layers.Layer):
        from bnlab.doctor.models.tf_keras_model import TfKerasModel

        return TfKerasModel
    return None
