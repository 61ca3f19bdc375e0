"""The sample that the command line names: one array, several, or a folder of images."""

import keras
import numpy as np
import pytest
from patients import layers

from bnlab.doctor.terminal import data_files


def model_for(*shape):
    return keras.Sequential([keras.Input(shape), layers.BatchNormalization()])


def save_images(folder, images):
    """Save images of shape (height, width, channels) losslessly, in two folders of classes."""
    for number, image in enumerate(images):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(folder / "ab"[number % 2] / f"{number}.png", image, scale=False)
    return str(folder)


def as_set(images):
    return {image.tobytes() for image in np.asarray(images, np.float32)}


def test_only_the_array_asked_for_is_read(tmp_path):
    path = str(tmp_path / "x.npz")
    np.savez(path, x=np.arange(4), unreadable=np.array([{}], dtype=object))
    for name in ("x", None):
        np.testing.assert_array_equal(data_files.loaded(path, name, None), np.arange(4))
    with pytest.raises(ValueError, match=r"x\.npz cannot be read as an \.npz \(ValueError: Object arrays"):
        data_files.loaded(path, "unreadable", None)


def test_every_input_is_scaled(tmp_path):
    one, two = keras.Input((1,), name="one"), keras.Input((1,), name="two")
    model = keras.Model([one, two], layers.Add()([one, two]))
    np.savez(tmp_path / "x.npz", one=[[2]], two=[[4]], other=[[9]])
    assert data_files.loaded(str(tmp_path / "x.npz"), None, model, 0.5) == {"one": 1, "two": 2}
    np.save(tmp_path / "x.npy", [[2]])
    assert data_files.loaded(str(tmp_path / "x.npy"), None, model, 0.5) == 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_come_as_they_were_saved(tmp_path, rng, channels):
    images = rng.integers(0, 256, (7, 6, 5, channels))
    x = data_files.loaded(save_images(tmp_path, images), None, model_for(6, 5, channels))
    assert x.dtype == np.float32
    assert as_set(x) == as_set(images)


def test_images_take_the_size_and_the_colors_of_the_input(tmp_path):
    images = np.full((2, 6, 5, 3), [10, 20, 30])
    folder = save_images(tmp_path, images)
    x = data_files.loaded(folder, None, model_for(3, 8, 8))
    np.testing.assert_array_equal(x, np.broadcast_to(np.reshape([10, 20, 30], (3, 1, 1)), (2, 3, 8, 8)))
    x = data_files.loaded(folder, None, model_for(4, 4, 3), 0.1)
    np.testing.assert_allclose(x, np.full((2, 4, 4, 3), [1, 2, 3]), rtol=1e-6)
    assert data_files.loaded(folder, None, model_for(4, 4, 1)).shape == (2, 4, 4, 1)


def test_of_many_images_a_fixed_mix_is_taken(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(data_files, "MOST_IMAGES", 20)
    images = rng.integers(0, 256, (60, 2, 2, 3))
    folder, model = save_images(tmp_path, images), model_for(2, 2, 3)
    x = data_files.loaded(folder, None, model)
    assert len(as_set(x)) == 20
    assert as_set(x) < as_set(images)
    np.testing.assert_array_equal(x, data_files.loaded(folder, None, model))
    in_a = len(as_set(x) & as_set(images[::2]))
    assert 4 < in_a < 16, "sorted by class"


@pytest.mark.parametrize(
    ("shape", "told"),
    [((4,), "(None, 4)"), ((None, None, 3), "(None, None, None, 3)"), ((6, 5, 2), "6, 5, 2)")],
)
def test_a_model_of_no_images_takes_none(tmp_path, shape, told):
    folder = save_images(tmp_path, np.zeros((2, 6, 5, 3)))
    with pytest.raises(ValueError, match="expected one input of fixed height and width") as caught:
        data_files.loaded(folder, None, model_for(*shape))
    assert told in str(caught.value)
    with pytest.raises(ValueError, match="and the model takes any shape; expected"):
        data_files.loaded(folder, None, keras.Sequential([layers.BatchNormalization()]))


def test_a_broken_image_is_one_sentence(tmp_path):
    folder = save_images(tmp_path, np.zeros((2, 6, 5, 3)))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(
        ValueError, match=r"has an image that cannot be read \(InvalidArgumentError: "
    ) as caught:
        data_files.loaded(folder, None, model_for(6, 5, 3))
    assert "\n" not in str(caught.value)


def test_what_is_no_sample_is_seen_from_outside(tmp_path):
    (tmp_path / "notes.txt").touch()
    told = f"{tmp_path} is a folder without images; expected PNG or JPEG files in it, or an .npz"
    assert data_files.refusal(str(tmp_path)) == told
    assert (
        data_files.refusal("missing.npz")
        == "missing.npz is no file; expected an .npz with a sample of the inputs"
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "PHOTO.JPG").touch()
    assert data_files.refusal(str(tmp_path)) is None
