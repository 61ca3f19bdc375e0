"""The report for programs: strict JSON, with all that the report in words has."""

import dataclasses
import json

import keras
import numpy as np
from patients import dense_model, rows

from bnlab.checkup import LayerCheckup, checkup
from bnlab.doctor.terminal import json_report


def strict(text):
    def refuse(constant):
        raise AssertionError(constant)

    assert "\n" not in text
    return json.loads(text, parse_constant=refuse)


def test_every_field_of_a_layer_is_told_with_its_features(rng):
    found = checkup(dense_model(), rows(rng))
    told = strict(json_report.written(found))
    assert told["version"] == 1
    assert told["healthy"] is False
    assert (told["examples"], told["batch_size"], told["not_called"]) == (200, 32, [])
    assert told["disagreement"] == found.disagreement
    names = {field.name for field in dataclasses.fields(LayerCheckup)} - {"found"}
    for layer, ours in zip(told["layers"], found.layers, strict=True):
        assert set(layer) == names
        assert layer["problems"] == list(ours.problems)
        np.testing.assert_array_equal(layer["gaps"], ours.gaps)
        np.testing.assert_array_equal(layer["ratios"], ours.ratios)


def test_advice_has_its_word_its_sentence_and_its_line(rng):
    found = checkup(dense_model(), rows(rng))
    told = strict(json_report.written(found))["advice"]
    assert [one["word"] for one in told] == ["never updated"]
    assert told[0]["sentence"].startswith("never updated: the moving statistics of bn, bn_2 are")
    assert told[0]["line"] in str(found)


def test_what_json_has_no_number_for_is_a_word(rng):
    model = dense_model()
    model.layers[1].moving_mean.assign(keras.ops.full((20,), np.nan))
    told = strict(json_report.written({"before": checkup(model, rows(rng)), "after": None}))
    assert told["before"]["disagreement"] == "Infinity"
    assert told["before"]["layers"][0]["mean_gap"] == "NaN"
    assert told["before"]["layers"][0]["gaps"] == []
    assert told["after"] is None
    assert json_report.written({"x": -np.inf, "y": np.float32(2)}) == '{"x": "-Infinity", "y": 2.0}'
