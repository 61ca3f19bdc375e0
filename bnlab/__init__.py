"""The maths, the pictures and the checks behind the batch normalization notebooks.

    batch_norm  moving_average  moments  folding  data     the maths: NumPy, nothing else
    figures  sliders/                                      the pictures; an explorer is one file of sliders/
    tensorflow_setup  update_ops  workers                  TensorFlow itself
    checkup  doctor/  ward                                 the reader's own model; an illness is one row
    exercises/  judging/                                   the reader's own answers; a module a notebook
    checks  words                                          the cellar: used everywhere, shown nowhere

What a notebook imports stands here; what stands behind a door lives in a folder. Nothing is imported
here, so that `from bnlab import batch_norm` costs NumPy and no more: take the module you need.
"""
