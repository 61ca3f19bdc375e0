"""The maths and the pictures behind the batch normalization notebooks.

Nothing is imported here, so that `from bnlab import batch_norm` costs NumPy and no more. Take the
module you need: `batch_norm`, `moving_average`, `data`, `figures`, `overlays`, `tensorflow_setup`,
`update_ops` or `sliders`.
"""
