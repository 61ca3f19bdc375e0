"""The doctor's rooms, behind the door `bnlab.checkup`. A model goes through them in this order:

`models` has a room for each maker, `sample` checks x, `inputs` watches what comes into each layer and
`outputs` what leaves the model, `fit` holds what is remembered against it, `readings` tries other ways to
read it, `illnesses` names what is wrong, `report` shows it. `cure` recalibrates. `course` takes a model
through them again and again while it trains; `ready` says who will be late. `terminal` is the command line.
"""
