"""What is said of an answer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What came of an answer; `str()` is the line to print.

    Attributes:
        line: one line of plain text.
        right: whether the answer is right.
        mistake: the name of the mistake that was recognised, or None.
    """

    line: str
    right: bool = False
    mistake: str | None = None

    def __str__(self):
        """Return the line."""
        return self.line


class UnfitError(Exception):
    """An answer that cannot be judged by its numbers; `mistake` names why, `words` tell the learner."""

    def __init__(self, mistake, words):
        super().__init__(words)
        self.mistake = mistake
        self.words = words


NOT_ATTEMPTED = Verdict("not attempted yet")
RIGHT = Verdict("right", right=True)


def not_yet(mistake, hint):
    """Return the verdict on a mistake that has a name."""
    return Verdict(f"not yet ({mistake}): {hint}", mistake=mistake)
