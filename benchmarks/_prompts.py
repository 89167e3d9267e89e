"""The prompts of `accuracy.py`: those that were tried, and the one that is used.

`python benchmarks/accuracy.py --prompts` compares them on the first rows of the pools; no
test row is looked at (results/prompts.txt). Chosen is the least held-out log loss, and of
those within 0.01 the one with the most label mass. Demonstrations were written for this
file: none is in the data.
"""

from __future__ import annotations

from dataclasses import dataclass

NEGATIVE = "a dull and lifeless film that wastes a good cast ."
POSITIVE = "funny , warm and beautifully acted from start to end ."

SENTIMENT = (("negative",), ("positive",))
TYPES = (
    ("abbreviation",),
    ("entity", "thing"),
    ("description",),
    ("person",),
    ("location", "place"),
    ("number",),
)
QUESTIONS = (
    ("What does ATM stand for ?", "abbreviation"),
    ("What instrument did Stradivari build ?", "entity"),
    ("Why do leaves turn red in autumn ?", "description"),
    ("Who painted the Night Watch ?", "person"),
    ("Where is the highest bridge of Norway ?", "location"),
    ("How many strings does a cello have ?", "number"),
)
MORE_QUESTIONS = (
    ("How far is Oslo from Bergen ?", "number"),
    ("Which team won the first ice hockey final ?", "person"),
    ("What is photosynthesis ?", "description"),
    *QUESTIONS,
    ("What is the capital of the province of Jujuy ?", "location"),
    ("What does the acronym NGO mean ?", "abbreviation"),
    ("What food is a panda fond of ?", "entity"),
)
FEELINGS = (
    ("anger", "angry"),
    ("joy", "happy"),
    ("optimism", "optimistic"),
    ("sadness", "sad"),
)
ADJECTIVES = (
    ("angry", "furious", "annoyed"),
    ("happy", "excited", "amused"),
    ("hopeful", "optimistic", "confident"),
    ("sad", "depressed", "lonely"),
)
TWEETS = (
    ("two hours on hold and then they hang up. shame on you @user", "anger"),
    ("best birthday ever, I can't stop laughing 😂", "joy"),
    ("one step at a time. tomorrow will be better #believe", "optimism"),
    ("I miss my dog so much, the house is empty without him", "sadness"),
)
KINDS = (("plot",), ("opinion", "review"))
STANCES = (("objective", "factual"), ("subjective", "opinion"))
PLACES = (("story", "novel", "book"), ("review", "blog", "critic"))
FILMS = (
    ("a young nurse returns to her village and finds her brother gone .", "plot"),
    ("the jokes are stale , and the ending is sillier still .", "opinion"),
    ("three thieves plan one last robbery before their leader retires .", "plot"),
    ("a graceful , deeply felt film that stays with you .", "opinion"),
)
MARKETS = (
    ("Operating profit fell to EUR 2.1 mn from EUR 4.8 mn .", "negative"),
    ("The company has its head office in Turku .", "neutral"),
    ("Net sales rose by 12 % in the second quarter .", "positive"),
)
TONES = (("negative",), ("neutral",), ("positive",))
TIDINGS = (("bad", "negative"), ("neutral", "not"), ("good", "positive"))
CHANGES = (("lower",), ("none",), ("higher",))
MORE_MARKETS = (
    ("The contract was signed on Monday by both companies .", "neutral"),
    ("Demand was weak and the plant will lay off 80 employees .", "negative"),
    *MARKETS[1:],
    MARKETS[0],
    ("The order strengthens the company 's position in Asia .", "positive"),
)
EFFECTS = tuple(
    (text, {"negative": "lower", "neutral": "none", "positive": "higher"}[answer])
    for text, answer in MORE_MARKETS
)
SUBJECTS = (
    ("war", "politics", "world"),
    ("sports", "football", "baseball"),
    ("business", "oil", "money"),
    ("technology", "science", "computers"),
)
SECTIONS = (("World",), ("Sports",), ("Business",), ("Technology", "Science"))
STORIES = (
    ("Ministers Meet in Cairo Foreign ministers met for talks on a truce.", "World"),
    ("Late Goal Sinks Leaders A header in stoppage time ended the run.", "Sports"),
    (
        "Profit Warning Hits Shares The retailer cut its forecast for the year.",
        "Business",
    ),
    ("Faster Chips Unveiled The new processor halves the power used.", "Technology"),
)


@dataclass(frozen=True)
class Prompt:
    """A template, and what counts for each class in an answer."""

    template: str
    forms: tuple[tuple[str, ...], ...]


def shown(examples: tuple[tuple[str, str], ...], question: str) -> str:
    """Put worked examples before a question that ends with the answer's name."""
    done = [question.format(text=text) + f" {answer}" for text, answer in examples]
    return "\n\n".join([*done, question])


REVIEW = "Review: {text}\nSentiment:"
REVIEWS = ((NEGATIVE, "negative"), (POSITIVE, "positive"))
VERDICT = (("bad", "terrible", "boring"), ("good", "great", "excellent"))

FILM_PROMPTS = {
    "bare": Prompt(REVIEW, SENTIMENT),
    "listed": Prompt("Is this film review negative or positive?\n" + REVIEW, SENTIMENT),
    "quoted": Prompt('A critic wrote: "{text}" In short, the film is', VERDICT),
    "two shown": Prompt(shown(REVIEWS, REVIEW), SENTIMENT),
    "two shown, adjectives": Prompt(
        shown(
            ((NEGATIVE, "boring"), (POSITIVE, "delightful")),
            "Review: {text}\nThe film in one word:",
        ),
        VERDICT,
    ),
}

ASKED = "Question: {text}\nAnswer type:"
TWEET = "Tweet: {text}\nEmotion:"
STORY = "{text}\nSection:"
NEWS = "News: {text}\nSentiment:"
SENTENCE = "Sentence: {text}\nKind:"

PROMPTS: dict[str, dict[str, Prompt]] = {
    "rt": FILM_PROMPTS,
    "rt-staicc": FILM_PROMPTS,
    "trec": {
        "bare": Prompt(ASKED, TYPES),
        "listed": Prompt(
            "Types: abbreviation, entity, description, person, location, number\n"
            + ASKED,
            TYPES,
        ),
        "answer": Prompt("Question: {text}\nAnswer:", TYPES),
        "cloze": Prompt('The answer to the question "{text}" is a', TYPES),
        "asks for": Prompt('"{text}" This question asks for the name of a', TYPES),
        "six shown": Prompt(shown(QUESTIONS, ASKED), TYPES),
        "twelve shown": Prompt(shown(MORE_QUESTIONS, ASKED), TYPES),
        "twelve shown, asks": Prompt(
            shown(MORE_QUESTIONS, "Question: {text}\nThis question asks for a"), TYPES
        ),
    },
    "emotion": {
        "bare": Prompt(TWEET, FEELINGS),
        "listed": Prompt(
            "Is the emotion of this tweet anger, joy, optimism or sadness?\n" + TWEET,
            FEELINGS,
        ),
        "cloze": Prompt("{text}\nThe person who wrote this tweet feels", ADJECTIVES),
        "four shown": Prompt(shown(TWEETS, TWEET), FEELINGS),
    },
    "subj": {
        "bare": Prompt("{text}\nThis sentence is", STANCES),
        "listed": Prompt(
            "Is this sentence from the plot of a film, or an opinion?\n" + SENTENCE, KINDS
        ),
        "cloze": Prompt('"{text}" This sentence is taken from a', PLACES),
        "four shown": Prompt(shown(FILMS, SENTENCE), KINDS),
    },
    "fpb": {
        "bare": Prompt(NEWS, TONES),
        "listed": Prompt(
            "Is this news negative, neutral or positive for the share?\n" + NEWS, TONES
        ),
        "cloze": Prompt("{text}\nFor investors, this news is", TIDINGS),
        "three shown": Prompt(shown(MARKETS, NEWS), TONES),
        "six shown": Prompt(shown(MORE_MARKETS, NEWS), TONES),
        "six shown, effect": Prompt(shown(EFFECTS, "{text}\nEffect on profit:"), CHANGES),
    },
    "agnews": {
        "bare": Prompt(STORY, SECTIONS),
        "topic": Prompt("{text}\nTopic:", SECTIONS),
        "listed": Prompt(
            "Sections: World, Sports, Business, Technology\n" + STORY, SECTIONS
        ),
        "cloze": Prompt("{text}\nThis article is about", SUBJECTS),
        "four shown": Prompt(shown(STORIES, STORY), SECTIONS),
    },
}

CHOSEN = {
    "rt": "two shown",
    "rt-staicc": "two shown",
    "trec": "twelve shown",
    "emotion": "bare",
    "subj": "four shown",
    "fpb": "three shown",
    "agnews": "topic",
}
