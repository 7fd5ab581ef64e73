"""A synthetic corpus for measuring: documents of equal size that differ, and variables that differ."""

import random

SENTENCE = (
    "the parties agree that every delivery under this contract shall be accepted paid insured inspected stored "
    "returned replaced or repaired within the term set out above unless notice is given in writing by either side"
)
WORDS = SENTENCE.split()


def document(number: int, words: int = 1500) -> str:
    """A text of so many words, the same for the same number."""
    chosen = random.Random(number).choices(WORDS, k=words)
    paragraphs = [" ".join(chosen[start : start + 60]).capitalize() + "." for start in range(0, words, 60)]
    return f"Contract number {number}\n\n" + "\n\n".join(paragraphs) + "\n"


def codebook(name: str, variables: int) -> dict[str, object]:
    """A codebook with so many text variables."""
    return {
        "project": name,
        "variables": [
            {"name": f"clause_{number}", "type": "text", "instructions": f"What the contract says in clause {number}."}
            for number in range(variables)
        ],
    }
