"""The doctor's rooms, behind the door `bnlab.checkup`. A model goes through them in this order:

`model` finds the room of its maker, `sample` checks x, `inputs` watches what comes into each layer and
`outputs` what leaves the model, `fit` holds what is remembered against it, `illnesses` names what is
wrong, `report` shows it. `cure` recalibrates.
"""
