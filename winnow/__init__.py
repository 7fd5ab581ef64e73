"""The domain of Winnow: what a codebook, a document, a cell and an extraction are, and the rules between them.

Nothing here touches a file, the network, a database or a model.
"""

__version__ = "0.1.0"
