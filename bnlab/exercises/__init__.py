"""Exercises that check themselves, a module a notebook: each function states one, and judges an answer.

    from bnlab.exercises import porting
    print(porting.inference_gradient(answer))

An answer is judged by what it does, on inputs that the learner has not seen, never by how it is written.
"""
