"""Whether llama.cpp reads texts as the model's own tokenizer does.

The converter recognizes a tokenizer by how it splits one text, and refuses all others. Most of
those split as one that it knows: so each of its pre-tokenizers is tried on many texts, and one
that differs nowhere is taken.
"""

from dataclasses import dataclass

VARIED = (
    "Hello world! It's 2026-11-29, isn't it? We'll see; they've 3,141.59 reasons (or 1e-5).",
    "I'M SURE YOU'D SAY HE'LL 'ave DON'T 'tis O'Neill's rock'n'roll",
    "  two leading spaces,   three inside,\ttab,\t\ttwo tabs \n\n\n three newlines\r\n  \n \n",
    "trailing spaces   \n    four\n        eight\n\n",
    "0 1 12 123 1234 12345 123456 1234567 12345678 1.5 1,000,000 0x7fff 3rd 4x4 v2.0.1",
    "def f(x: int) -> str:\n    return f\"{x!r}\" if x >= 0 else '-' * -x  # naïve\n\n\n",
    "class A:\n\tpass\n\n\n\tdef b(self):\n\t\tself.c += [d for d in range(10)]\n",
    '{"key": [1, -2.5e10, true, null], "path": "C:\\\\dir\\\\file.txt"} https://a.b/c?d=e&f#g',
    "SELECT * FROM t WHERE a<>b AND c!=d; -- ok\n/* x */ i++; p->q &&= ~0; [[a]] {{b}} ((c))",
    "Zwölf Boxkämpfer jagen Viktor. Ça va? El niño comió piñas. Łódź Þór ſ İ ı ǅ ß ẞ",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ξεσκεπάζω την ψυχοφθόρα.",
    "敏捷的棕色狐狸跳过了懒狗。いろはにほへと ちりぬるを カタカナ。",
    "다람쥐 헌 쳇바퀴에 타고파. 在2024年买了3个苹果，对吧？（是的）「はい」",
    "نص حكيم له سر قاطع. דג סקרן שט בים. ऋषियों को सताने वाले दुष्ट। กบฏก็เป็นได้ កាន់តែពិសេសអាច",
    "😀 👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 ✅🚀🚀 ☕\ufe0f é ñ ﬁ ½ ² ™ … — “quotes” ‘single’",
    "«a» €5 £6 ¥7 ªº №1 ⅷ ٣ ३ ㊙ \U0001d7d8 𝒜",
    "!!! ??? ... --- === *** ### $$$ %%% &&& @@@ ~~~ ``` ,,, ;;; ::: !?.,;: -_- :-)",
    "a--b a...b ¯\\_(ツ)_/¯ <!-- c --> <|d|> </e> #f @g ^h |i| `j` ~k",
    "CamelCase snake_case kebab-case SCREAMING_CASE iPhone15Pro x86_64 H2O CO₂ mc² a1b2c3 ABCdef",
    "\u00a0no-break\u2003em\u200bzero-width\u3000ideographic\ufeff \x0b\x0c end",
    "# Title\n\n- item one\n- item two\n\n1. first\n2. second\n\n> quote\n\n**b** _i_ [a](b)\n\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint(1)\n```\n\n---\n\n~~~\n",
    "\\frac{a}{b} \\sum_{i=0}^{n} x_i^2 \\le \\int_0^\\infty e^{-x}\\,dx & ∀x∈ℝ: x²≥0 ⇒ √x",
)
"""What pre-tokenizers are known to differ on: digits, spaces, contractions, scripts, marks."""


DECOMPOSED = "cafe\u0301 man\u0303ana"
"""Letters apart from their marks. Many tokenizers join them (NFC); llama.cpp never does, whichever
the model: that is stated and refuses nothing. Texts that a tokenizer decoded hold none."""


class TokenizerError(Exception):
    """llama.cpp would read texts in another way than the model's own tokenizer."""


@dataclass(frozen=True)
class Agreement:
    """How a tokenizer was converted."""

    pre_tokenizer: str | None
    """Name that was given to it; none where the converter chose, or it needs none."""

    recognized: bool | None
    """Whether the converter knows it; none where there is nothing to know."""

    texts: int
    different: int
    first: str | None = None
    """The first difference, in words."""

    joins_marks: bool | None = None
    """Whether letters that are apart from their marks are read as the model's tokenizer does."""


def find(converter, library, tokenizer, folder, target, texts, hear):
    """Convert a tokenizer and return how it agrees.

    Args:
        converter: llama.cpp's.
        library: llama.cpp's.
        tokenizer: The model's own.
        folder: The model.
        target: Where a file of the vocabulary may be for a while.
        texts: Further texts, besides the varied ones.
        hear: Hears how many pre-tokenizers are tried.

    Raises:
        TokenizerError: The converter does not know it, and nothing that it knows reads alike.
    """
    texts = [DECOMPOSED, *VARIED, *texts]
    own = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    recognized = converter.write(folder, target, "MOSTLY_F16", vocabulary_only=True)
    names = converter.pre_tokenizers() if recognized is False else [None]
    tried = []
    try:
        for index, name in enumerate(names):
            hear(index, len(names))
            found = _compare(library, target, name, recognized, tokenizer, texts, own)
            if not found.different or recognized is not False:
                return found
            tried.append(found)
    finally:
        target.unlink()
    nearest = min(tried, key=lambda one: one.different)
    raise TokenizerError(
        f"the converter does not recognize this tokenizer, and none of its {len(names)} "
        f"pre-tokenizers reads texts as it does. The nearest, {nearest.pre_tokenizer!r}, reads "
        f"{nearest.different} of {nearest.texts} texts in another way; {nearest.first}"
    )


def _compare(library, target, name, recognized, tokenizer, texts, own):
    try:
        model = library.model(target, vocabulary_only=True, pre_tokenizer=name)
    except ValueError:  # a name that only the converter knows
        count = len(texts) - 1
        return Agreement(name, recognized, count, count, "llama.cpp does not know it")
    try:
        read = [library.tokenize(model, text) for text in texts]
    finally:
        library.free_model(model)
    marks, *pairs = zip(own, read, strict=True)
    differing = [(one, other) for one, other in pairs if one != other]
    first = _words(tokenizer, *differing[0]) if differing else None
    return Agreement(name, recognized, len(pairs), len(differing), first, marks[0] == marks[1])


def _words(tokenizer, own, read):
    """Say where two readings of a text part."""
    longest = min(len(own), len(read))
    at = next((i for i in range(longest) if own[i] != read[i]), longest)
    around = tokenizer.decode(own[max(0, at - 3) : at + 4])
    pieces = [tokenizer.convert_ids_to_tokens(ids[at : at + 4]) for ids in (own, read)]
    return f"after {at} tokens, at {around!r}: {pieces[0]} became {pieces[1]}"
