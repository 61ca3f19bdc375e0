"""The doctor's rooms, behind the door `bnlab.checkup`; a model goes through them in this order.

`sample` checks the inputs, `inputs` watches what comes into each batch-norm layer, `fit` compares that with
what the layer remembers, `illnesses` names what is wrong, `report` shows it. `cure` is behind `recalibrate`,
`command` behind `python -m bnlab.checkup`.
"""
