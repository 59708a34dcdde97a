"""The reference's pages that are made from the program: `python -m docs.generate`."""
