"""Judges an answer by what it does: right, or which mistake it makes, recognised from its output.

A mistake is given as a function that makes it. The learner's function, the right one and all the mistaken
ones get the same inputs, and the outputs are compared. So the answer may be written in any way, and a
mistake is known by its numbers.
"""

from bnlab.judging.engine import as_numbers, judge, judge_proposal, judge_value
from bnlab.judging.verdicts import UnfitError, Verdict

__all__ = ["UnfitError", "Verdict", "as_numbers", "judge", "judge_proposal", "judge_value"]
