"""Evidence: where the words that a model quotes stand in the document, or that they do not stand there.

`evening` and `letters` are the forms of a text in which quotes are looked for, `same_words` says which passages are
too different, `places` leads to pages and boxes.
"""

from winnow.grounding.grounder import Grounder

__all__ = ["Grounder"]
