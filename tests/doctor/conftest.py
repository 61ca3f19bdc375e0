"""Imports TensorFlow with its v1 layers before any test of the doctor, and seeds what is random."""

import bnlab.tensorflow_setup  # noqa: F401 - first, so that the v1 layers are there

# isort: split

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def rng():
    keras.utils.set_random_seed(3)
    return np.random.default_rng(3)
