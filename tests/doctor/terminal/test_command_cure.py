"""`--cure OUT.keras`: the whole model under a new name, both reports, and never a file overwritten."""

import json
import os
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from patients import dense_model, rows

import bnlab.checkup
from bnlab.checkup import checkup, main
from bnlab.doctor.terminal import model_files


@pytest.fixture(scope="module")
def ill():
    """The bytes of a model that was trained for two steps, with its optimizer."""
    rng = np.random.default_rng(3)
    model = dense_model(momentum=0.99)
    model.compile("adam", "mse")
    model.fit(rows(rng, 64), np.zeros((64, 3)), verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/ill.keras")
        return Path(folder, "ill.keras").read_bytes()


@pytest.fixture
def folder(tmp_path, rng, monkeypatch, ill):
    """The current folder: that model, its sample sorted, and a few names that are taken."""
    (tmp_path / "ill.keras").write_bytes(ill)
    x = rows(rng)
    np.savez(tmp_path / "x.npz", x[np.argsort(x[:, 0])])
    (tmp_path / "taken.keras").write_text("dear", encoding="utf-8")
    if os.name == "posix":  # Windows lets only some users make one
        (tmp_path / "dangling.keras").symlink_to("nowhere")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_both_reports_and_a_file_that_is_healthy(folder, capfd):
    assert main(["ill.keras", "x.npz", "--cure", "well.keras"]) == 0
    told = capfd.readouterr().out
    ill, well = (keras.models.load_model(folder / name) for name in ("ill.keras", "well.keras"))
    with np.load("x.npz") as stored:
        before, after = checkup(ill, stored["arr_0"]), checkup(well, stored["arr_0"])
    assert not before.healthy
    assert after.healthy
    assert told == f"Before:\n\n{before}\n\nAfter, in well.keras:\n\n{after}\n"
    assert sorted(path.name for path in folder.glob("*well*")) == ["well.keras"]
    assert not list(folder.glob(".*"))


def test_nothing_but_the_moving_statistics_is_new(folder):
    main(["ill.keras", "x.npz", "--cure", "well.keras", "--json"])
    ill, well = (keras.models.load_model(folder / name) for name in ("ill.keras", "well.keras"))
    for ours, theirs in zip(well.trainable_variables, ill.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(well.optimizer.variables, ill.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert well.get_config() == ill.get_config()
    assert well.loss == ill.loss == "mse"


@pytest.mark.usefixtures("folder")
def test_json_has_both_and_the_code_is_that_of_the_last(capfd, monkeypatch):
    monkeypatch.setattr(bnlab.checkup, "recalibrate", lambda _, batches: [*batches])  # does nothing
    assert main(["ill.keras", "x.npz", "--cure", "well.keras", "--json"]) == 1
    told = json.loads(capfd.readouterr().out)
    assert list(told) == ["before", "after"]
    assert told["before"] == told["after"]


@pytest.mark.usefixtures("folder")
def test_sorted_examples_are_mixed_into_batches_of_the_size_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr(bnlab.checkup, "recalibrate", lambda _, batches: seen.append([*batches]))
    for name in ("a.keras", "b.keras"):
        main(["ill.keras", "x.npz", "--cure", name, "--batch-size", "50"])
    assert [len(batch) for batch in seen[0]] == [50] * 4
    np.testing.assert_array_equal(seen[0], seen[1])
    with np.load("x.npz") as stored:
        x = stored["arr_0"]
    np.testing.assert_array_equal(np.sort(np.concatenate(seen[0]), axis=0), np.sort(x, axis=0))
    assert max(abs(batch[:, 0].mean() - x[:, 0].mean()) for batch in seen[0]) < x[:, 0].std()


@pytest.mark.usefixtures("folder")
def test_a_loss_of_ones_own_is_lost_and_said_to_be(capfd):
    model = dense_model(momentum=0.99)
    model.compile("adam", lambda y, z: keras.ops.mean((y - z) ** 2))
    model.save("own_loss.keras")
    assert main(["own_loss.keras", "x.npz", "--cure", "well.keras"]) == 0
    assert "\n\nAfter, in well.keras, without its loss and optimizer:\n\n" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("model", "out", "told"),
    [
        ("ill.keras", "taken.keras", "--cure is taken.keras, which exists; expected a new name"),
        ("ill.keras", "ill.keras", "--cure is ill.keras, which exists; expected a new name"),
        pytest.param(
            *("ill.keras", "dangling.keras", "--cure is dangling.keras, which exists; expected a new name"),
            marks=pytest.mark.skipif(os.name != "posix", reason="not every user of Windows may make a link"),
        ),
        ("ill.keras", "well.h5", "--cure is well.h5; expected a name that ends in .keras"),
        ("ill.keras", "", "--cure is ; expected a name that ends in .keras"),
        ("ill.keras", "no/well.keras", "--cure is no/well.keras; expected a folder that exists, and no does"),
        ("saved", "well.keras", "saved is a SavedModel, which can be judged but not changed; expected a"),
    ],
)
def test_what_cannot_be_written_is_told_before_any_work(folder, capfd, monkeypatch, model, out, told):
    monkeypatch.setattr(model_files, "loaded_to_be_saved", lambda _: pytest.fail("it was loaded"))
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit, match=r"^2$"):
        main([model, "x.npz", "--cure", out])
    heard = capfd.readouterr()
    assert heard.out == ""
    assert heard.err.startswith(f"error: {told}")
    assert heard.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before
    assert (folder / "taken.keras").read_text(encoding="utf-8") == "dear"


@pytest.mark.parametrize("trouble", ["a file comes meanwhile", "the disk is full", "an interrupt"])
def test_a_write_that_fails_leaves_nothing_behind(folder, capfd, monkeypatch, trouble):
    save = keras.Sequential.save

    def saved(model, path):
        save(model, path)
        if trouble == "the disk is full":
            raise OSError(28, "No space left on device")
        if trouble == "an interrupt":
            raise KeyboardInterrupt
        (folder / "well.keras").write_text("dear", encoding="utf-8")

    monkeypatch.setattr(keras.Sequential, "save", saved)
    code = main(["ill.keras", "x.npz", "--cure", "well.keras"])
    assert code == (130 if trouble == "an interrupt" else 2)
    heard = capfd.readouterr()
    assert heard.out == ""
    assert heard.err.count("\n") == 1
    assert not list(folder.glob(".*"))
    if trouble == "a file comes meanwhile":
        assert (folder / "well.keras").read_text(encoding="utf-8") == "dear"
    else:
        assert not (folder / "well.keras").exists()
