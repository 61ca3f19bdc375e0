"""Exercises that check themselves, a module a notebook: each function states one, and judges an answer.

    from bnlab.exercises import find_the_bug as exercises
    print(exercises.doctor(answer))

An answer is judged by what it does, on inputs that the learner has not seen, never by how it is written.
Every function returns a `bnlab.judging.Verdict`, whose `str()` is the line to print.
"""
