"""The maths, the pictures and the checks behind the batch normalization notebooks.

Nothing is imported here, so that `from bnlab import batch_norm` costs NumPy and no more. Take the
module you need: `batch_norm`, `moving_average`, `merging`, `folding` and `data` for the maths, `figures`,
`overlays` and `sliders` for the pictures, `tensorflow_setup`, `update_ops`, `checkup` and `workers` for
TensorFlow, `exercises` for answers that are judged, `ward` for the patients of notebook 11.
"""
