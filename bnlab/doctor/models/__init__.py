"""The models that the doctor can look at: a room for each maker, and how they are called unharmed.

`makers` finds the room. `places` says where a layer stands in its model, `this_thread` and `unchanged` keep
everybody else from noticing; `keras_layers` is the same for both Keras; `noting` and `graph_norms` are for
models that are graphs.
"""
