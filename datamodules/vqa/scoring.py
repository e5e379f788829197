"""The answers of several annotators to a question about an image, compared as the official VQA evaluation does.

Source of the rules: https://github.com/GT-Vision-Lab/VQA, ``vqaEval.py``. That script leaves the answers as they are
where all annotators agree; TextVQA's evaluation (MMF's ``EvalAIAnswerProcessor``) and this file normalize always.
"""

import re
from collections import Counter
from collections.abc import Sequence

ANNOTATORS = 10  # who answer each question of the official sets
ENOUGH = 3  # others that agree make an answer right

ARTICLES = {"a", "an", "the"}
NUMBERS = dict(
    zip(
        ("none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        ("0", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"),
        strict=True,
    )
)
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
# The words that the script writes with another apostrophe or none, and how it then writes them; its oddities are its
# own. Those with a capital letter, which it never meets after lowering the case, are left out.
TABLE = """
    aint:ain't arent:aren't cant:can't couldve:could've couldnt:couldn't couldn'tve:couldn't've couldnt've:couldn't've
    didnt:didn't doesnt:doesn't dont:don't hadnt:hadn't hadnt've:hadn't've hadn'tve:hadn't've hasnt:hasn't
    havent:haven't hed:he'd hed've:he'd've he'dve:he'd've hes:he's howd:how'd howll:how'll hows:how's isnt:isn't
    itd:it'd itd've:it'd've it'dve:it'd've itll:it'll maam:ma'am mightnt:mightn't mightnt've:mightn't've
    mightn'tve:mightn't've mightve:might've mustnt:mustn't mustve:must've neednt:needn't notve:not've oclock:o'clock
    oughtnt:oughtn't ow's'at:'ow's'at 'ows'at:'ow's'at 'ow'sat:'ow's'at shant:shan't shed've:she'd've she'dve:she'd've
    shouldve:should've shouldnt:shouldn't shouldnt've:shouldn't've shouldn'tve:shouldn't've somebody'd:somebodyd
    somebodyd've:somebody'd've somebody'dve:somebody'd've somebodyll:somebody'll somebodys:somebody's
    someoned:someone'd someoned've:someone'd've someone'dve:someone'd've someonell:someone'll someones:someone's
    somethingd:something'd somethingd've:something'd've something'dve:something'd've somethingll:something'll
    thats:that's thered:there'd thered've:there'd've there'dve:there'd've therere:there're theres:there's
    theyd:they'd theyd've:they'd've they'dve:they'd've theyll:they'll theyre:they're theyve:they've twas:'twas
    wasnt:wasn't wed've:we'd've we'dve:we'd've weve:we've werent:weren't whatll:what'll whatre:what're whats:what's
    whatve:what've whens:when's whered:where'd wheres:where's whereve:where've whod:who'd whod've:who'd've
    who'dve:who'd've wholl:who'll whos:who's whove:who've whyll:why'll whyre:why're whys:why's wont:won't
    wouldve:would've wouldnt:wouldn't wouldnt've:wouldn't've wouldn'tve:wouldn't've yall:y'all yall'll:y'all'll
    y'allll:y'all'll yall'd've:y'all'd've y'alld've:y'all'd've y'all'dve:y'all'd've youd:you'd youd've:you'd've
    you'dve:you'd've youll:you'll youre:you're youve:you've
    """
CONTRACTIONS = dict(pair.split(":") for pair in TABLE.split())


def normalize(answer: str) -> str:
    """Bring an answer into the form in which answers are compared.

    Punctuation goes (in a number such as 1,000 without leaving a space), full stops that do not stand before a digit
    too; letters become small, number words up to ten digits, articles go, contractions get their apostrophe.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    thousands = re.search(r"\d,\d", text) is not None
    bare = text
    for mark in PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if thousands or beside_space else " ")
    bare = re.sub(r"\.(?!\d)", "", bare)
    words = [NUMBERS.get(word, word) for word in bare.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def score(agreeing: int, annotators: int) -> float:
    """The accuracy, in [0, 1], of an answer that so many of the annotators gave.

    It is min(others that agree / 3, 1), averaged over leaving each annotator out (Antol et al. 2015,
    https://arxiv.org/abs/1505.00468, and the script): of ten, 1 gives 0.3, 2 give 0.6, 3 give 0.9, 4 give 1.
    """
    left_out = agreeing * min((agreeing - 1) / ENOUGH, 1.0)
    kept = (annotators - agreeing) * min(agreeing / ENOUGH, 1.0)
    return (left_out + kept) / annotators


def scores(answers: Sequence[str]) -> dict[str, float]:
    """The accuracy of each answer that was given, by its normal form.

    Fewer than ten answers are repeated in their order until there are ten, as MMF does, so that a question with one
    annotator can be answered right.

    Args:
        answers: of the annotators, one or more.
    """
    repeats = max(1, -(-ANNOTATORS // len(answers)))
    counted = (list(answers) * repeats)[: max(ANNOTATORS, len(answers))]
    return {answer: score(agreeing, len(counted)) for answer, agreeing in Counter(map(normalize, counted)).items()}
