"""The eight expressions a face can be labelled with, and the names other data sets give them."""

from enum import StrEnum


class Expression(StrEnum):
    """What a face shows. The value is the table's word; `title` is the word in texts and prompts."""

    NEUTRAL = "neutral"
    HAPPINESS = "happiness"
    SADNESS = "sadness"
    SURPRISE = "surprise"
    FEAR = "fear"
    DISGUST = "disgust"
    ANGER = "anger"
    CONTEMPT = "contempt"

    @property
    def word(self) -> str:
        """The capitalised noun that ends a chain of thought."""
        return self.value.capitalize()


EXPRESSIONS: tuple[Expression, ...] = tuple(Expression)

_ALIASES = {
    "happy": Expression.HAPPINESS,
    "smile": Expression.HAPPINESS,
    "sad": Expression.SADNESS,
    "surprised": Expression.SURPRISE,
    "fearful": Expression.FEAR,
    "afraid": Expression.FEAR,
    "disgusted": Expression.DISGUST,
    "angry": Expression.ANGER,
    "contemptuous": Expression.CONTEMPT,
}


def read_expression(word: str) -> Expression | None:
    """Read an expression's name or a common alias, in any case; None where it is neither."""
    key = word.strip().lower()
    return Expression(key) if key in set(EXPRESSIONS) else _ALIASES.get(key)
